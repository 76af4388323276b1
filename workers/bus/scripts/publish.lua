-- Appends one message to a room's log and publishes it; the same key a second time gives the first answer again.
-- uses log.lua
-- uses append.lua
--
-- Returns "<offset> <time> <epoch>", followed by " d" for a duplicate. Errors: KEYCONFLICT, OFFSETS.

local log = open_log(ARGV[2])
return first_answer(log) or append(log)
