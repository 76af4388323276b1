-- Appends a message that answers an earlier one, if that is still there.
-- uses log.lua
-- uses append.lua
--
-- ARGV[6]  envelope
-- ARGV[7]  key (16 bytes)                                  } empty without KEYS[5]
-- ARGV[8]  digest of what a retry must repeat (12 bytes)   }
-- ARGV[9]  offset of the message that is answered
-- ARGV[10] epoch in which it was seen; "": not said
--
-- Returns what publish.lua does for one message. Errors: KEYCONFLICT, OFFSETS, NOTARGET.

local log = open_log(ARGV[2])
local keys = KEYS[5] and open_keys({ ARGV[7] })
local again = keys and first_answer(log, keys, ARGV[7], ARGV[8])
if again then return again end
if not message_at(log, ARGV[9], ARGV[10]) then return redis.error_reply('NOTARGET there is no such message any more') end

prepare(log)
local answer = append(log, ARGV[6], KEYS[2], ARGV[3])
if answer.err then return answer end
if keys then
  remember(log, keys, ARGV[7], ARGV[8], answer)
  keep_keys(log, keys)
end
keep(log)
return answer
