-- Reads the states of many rooms' logs; creates a log's identity where there is none.
-- uses log.lua
-- uses state.lua
--
-- KEYS     meta, log, overlay and changes of each room
-- ARGV[1]  seed of a new log's id
-- ARGV[2]  history ttl of the first room, seconds; the others' follow
--
-- Returns {epoch, top, first, reigns, dropped, epoch, ...} as read.lua; one that fails fails all.

local reign = present_reign()
local answer = {}
for at = 1, #KEYS / 4 do
  local log = open_log(ARGV[1], KEYS[4 * at - 3], reign)
  local state = state_of(log, KEYS[4 * at - 2], KEYS[4 * at - 1], KEYS[4 * at], tonumber(ARGV[at + 1]), true)
  if state.err then return state end
  local size = #answer
  answer[size + 1], answer[size + 2] = log.epoch, text(log.top)
  answer[size + 3], answer[size + 4], answer[size + 5] = text(state.first), state.reigns, state.dropped
end
return answer
