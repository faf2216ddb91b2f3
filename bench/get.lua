-- Reads of single servers, at random, with a token. IDS names a file with one id per line.
local requests = {}
local started = 0

function setup(thread)
    thread:set("seed", started)
    started = started + 1
end

function init()
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
    for id in io.lines(os.getenv("IDS")) do
        requests[#requests + 1] = wrk.format("GET", "/v1/servers/" .. id)
    end
    math.randomseed(seed)
end

function request()
    return requests[math.random(#requests)]
end
