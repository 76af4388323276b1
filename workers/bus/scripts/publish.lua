-- Appends messages to a room's log and publishes them; the same key a second time gives the first answer again.
-- uses log.lua
-- uses append.lua
--
-- KEYS[4…]  key entries, one a message; none where the messages have no idempotency keys
-- ARGV[6…]  the messages in order: an envelope each, followed by the digest of what a retry must repeat where there
--           are key entries
--
-- Returns for each message "<offset> <time> <epoch>", followed by " d" for a duplicate, or an error: KEYCONFLICT,
-- OFFSETS.

local log, answers = open_log(ARGV[2]), {}
local keyed = #KEYS > 3
prepare(log)
for at = 6, #ARGV, keyed and 2 or 1 do
  local number = #answers + 1
  local key, digest
  if keyed then key, digest = KEYS[3 + number], ARGV[at + 1] end
  answers[number] = key and first_answer(log, key, digest) or append(log, ARGV[at], key, digest)
end
keep(log)
return answers
