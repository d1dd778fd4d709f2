-- wrk: one chat completion a request. KEY is the API key; STREAM=1 asks for a stream; BODY_KB makes the prompt that long.
-- The body is one that Anthropic's clients send as well.
local stream = os.getenv("STREAM") == "1" and ',"stream":true' or ""
local filler = string.rep("A relay passes the baton on. ", math.floor((tonumber(os.getenv("BODY_KB")) or 0) * 1024 / 29))
wrk.method = "POST"
wrk.body = '{"model":"bench","max_tokens":512,"messages":[{"role":"user","content":"Say hello. ' .. filler .. '"}]' .. stream .. "}"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("KEY") or "none")
