-- Asks ticketd whether a request has a session, and puts the answer into the request:
-- admitone.conf calls this.

local http = require "socket.http"
http.TIMEOUT = 5

-- The application belongs to the brand commbox: to ticketd's other brands' people it is closed. For
-- customers: /auth/brand/commbox/check-customer.
local question = "http://127.0.0.1:8080/auth/brand/commbox/check"

-- /login sends the browser to the sign-in page for the brand's agents (--agent-sign-in-url), and from
-- there with a ticket back to where it wanted to go: to what stands behind to=. For customers:
-- /chat/CODE?to=, with the code of a channel.
local entry = "/login?brand=commbox&to="

local names = {
  "remote-user", "remote-name", "remote-email", "remote-groups", "admitone-brand", "admitone-audience",
  "admitone-channel", "admitone-ticket-id", "admitone-key-id", "admitone-actor", "admitone-issuer",
  "admitone-signing-key",
}

-- Gives each request an ID. Apache makes the ID, and clients choose none. ticketd takes no @ in an ID.
function identify(r)
  r.headers_in["X-Request-Id"] = r.subprocess_env["UNIQUE_ID"]:gsub("@", "_")
  return apache2.DECLINED
end

function check(r)
  -- What the client sent under these names goes, also Remote_User, which some applications read as
  -- the same.
  for name in pairs(r:headers_in_table()) do
    local first = name:lower():match("^(%w+)[^%w]")
    if first == "remote" or first == "admitone" then
      r.headers_in[name] = nil
    end
  end

  local _, status, answer = http.request {
    url = question,
    redirect = false,
    headers = {
      ["host"] = r.headers_in["Host"],
      ["cookie"] = r.headers_in["Cookie"],
      ["x-forwarded-for"] = r.useragent_ip,
      ["x-request-id"] = r.headers_in["X-Request-Id"],
    },
  }
  if status == 401 then
    r.err_headers_out["Location"] = entry .. r.unparsed_uri
    return 303
  end
  if status ~= 200 then
    r.err_headers_out["Retry-After"] = "5"
    return 503
  end
  for _, name in ipairs(names) do
    if answer[name] and answer[name] ~= "" then
      r.headers_in[name] = answer[name]
    end
  end
  -- A session is renewed now and then; without this it ends after an hour.
  if answer["set-cookie"] then
    r.err_headers_out["Set-Cookie"] = answer["set-cookie"]
  end
  return apache2.DECLINED
end
