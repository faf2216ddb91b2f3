-- GETs of one server from Nova itself.
function init()
    wrk.headers["X-Auth-Token"] = os.getenv("TOKEN")
    wrk.headers["OpenStack-API-Version"] = "compute 2.79"
end
