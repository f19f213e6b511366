-- Asks ticketd whether a request has a session, and puts the answer into the request: haproxy.cfg
-- calls this. HAProxy 2.5 or later has the HTTP client.

local check = "http://127.0.0.1:8080/auth/brand/commbox/check"

local names = {
  "remote-user", "remote-name", "remote-email", "remote-groups", "admitone-brand", "admitone-audience",
  "admitone-channel", "admitone-ticket-id", "admitone-key-id", "admitone-actor", "admitone-issuer",
  "admitone-signing-key",
}

core.register_action("admitone", { "http-req" }, function(txn)
  local headers = { ["x-forwarded-for"] = { txn.f:src() } }
  for _, name in ipairs({ "cookie", "host", "x-request-id" }) do
    local values = {}
    for _, value in pairs(txn.http:req_get_headers()[name] or {}) do
      table.insert(values, value)
    end
    headers[name] = values
  end
  local answer = core.httpclient():get({ url = check, headers = headers, timeout = 5000 })
  txn:set_var("txn.admitone_status", answer.status or 0)
  if answer.status ~= 200 then
    return
  end
  for _, name in ipairs(names) do
    local value = answer.headers[name]
    if value and value[0] ~= "" then
      txn.http:req_set_header(name, value[0])
    end
  end
  local cookie = answer.headers["set-cookie"]
  if cookie then
    txn:set_var("txn.admitone_cookie", cookie[0])
  end
end)
