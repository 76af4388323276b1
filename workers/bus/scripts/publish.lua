-- Appends messages to a room's log and publishes them; the same key a second time gives the first answer again.
-- uses log.lua
-- uses append.lua
-- uses inbox.lua
--
-- KEYS[n]   senders, the last of an odd number of keys: of an inbox alone; see inbox.lua
-- ARGV[6…]  the messages in order: an envelope each, followed, where there are KEYS[5] and KEYS[6], by its key (16
--           bytes) and the digest of what a retry must repeat (12 bytes)
--
-- Returns "<first offset> <time> <epoch>" where all of them were appended. Else for each message what it got:
-- "<offset> <time> <epoch>", followed by " d" for a duplicate, or an error: KEYCONFLICT, OFFSETS.

local log, answers = open_log(ARGV[2]), {}
local senders, most = #KEYS % 2 == 1 and KEYS[#KEYS], ARGV[3]
local size = tonumber(most)
if senders and (size == 0 or size > LARGEST) then senders = nil end
if senders then most = size + 2 * spare(size) end
prepare(log)

local noted = 0
local function add(envelope)
  local answer = append(log, envelope, KEYS[2], most)
  if senders and not answer.err then
    note_sender(log, senders, envelope, size)
    noted = noted + 1
    -- Before `most` drops the oldest, whoever wrote them: one script may bring more than an inbox has to spare.
    if noted % spare(size) == 0 then thin(senders, size) end
  end
  return answer
end

local function publish_keyed()
  local fields = {}
  for at = 7, #ARGV, 3 do fields[#fields + 1] = ARGV[at] end
  local keys = open_keys(fields)
  for at = 6, #ARGV, 3 do
    local field, digest = ARGV[at + 1], ARGV[at + 2]
    local answer = first_answer(log, keys, field, digest)
    if not answer then
      answer = add(ARGV[at])
      if not answer.err then remember(log, keys, field, digest, answer) end
    end
    answers[#answers + 1] = answer
  end
  keep_keys(log, keys)
end

if KEYS[6] then
  publish_keyed()
elseif senders then
  for at = 6, #ARGV do answers[at - 5] = add(ARGV[at]) end
else
  for at = 6, #ARGV do answers[at - 5] = append(log, ARGV[at], KEYS[2], most) end
end
if senders then
  if log.now - log.kept > tonumber(ARGV[4]) * 1000 / 64 then redis.call('EXPIRE', senders, ARGV[4]) end
  thin(senders, size)
end
keep(log)
return #log.sizes == #answers and log.first or answers
