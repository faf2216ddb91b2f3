-- Creates of servers that are to be accepted, each with a name of its own.
local started = 0
local count = 0

function setup(thread)
    thread:set("number", started)
    started = started + 1
end

function init()
    wrk.method = "POST"
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
    wrk.headers["Content-Type"] = "application/json"
    run = os.getenv("RUN")
    body = os.getenv("BODY")
end

function request()
    count = count + 1
    return wrk.format(nil, os.getenv("POSTPATH") or "/v1/servers", nil,
        (body:gsub("NAME", run .. "-" .. number .. "-" .. count)))
end

