-- The first hundred servers, with a token.
function init()
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
end
