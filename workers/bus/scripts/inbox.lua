-- Owns which messages an inbox lets go when it is full: the oldest ones of whoever has the most there, so that nobody's
-- letters push out those of others. All guests together count as one sender, since anyone can be any number of guests;
-- what they may keep is shared out among them in the same way.
-- It is put in front of every script that says "uses inbox.lua", after append.lua. Beside the log there is
--   senders  stream: offset-0 -> a <author>; small, so that bodies need not be read
--
-- What was dropped from among others is noted in the meta hash: `dropped` is the highest such offset. A hole below it
-- may have been a message; one above it was a change.

local LARGEST = 10000 -- messages; a larger inbox drops its oldest ones, whoever wrote them

-- Messages by which an inbox grows beyond its size before it is looked at.
local function spare(size) return math.max(16, math.floor(size / 8)) end

local function note_sender(log, senders, envelope, size)
  local author = string.match(envelope, '^%S* (%S*)') or ''
  local id = log.appended .. '-0'
  local added = redis.pcall('XADD', senders, 'MAXLEN', '~', size + 2 * spare(size), id, 'a', author)
  if type(added) == 'table' and added.err then -- of a log that is gone
    redis.call('DEL', senders)
    redis.call('XADD', senders, id, 'a', author)
  end
end

-- By how much senders are above an equal share of `size`: {sender -> excess}; what one does not use the others have.
local function excesses(counts, size)
  local sorted, left = {}, size
  for sender, count in pairs(counts) do sorted[#sorted + 1] = { count, sender } end
  table.sort(sorted, function(one, other) return one[1] < other[1] end)
  local excess, level = {}, nil
  for at, one in ipairs(sorted) do
    local fair = math.floor(left / (#sorted - at + 1))
    if not level and one[1] > fair then level = fair end
    if level then excess[one[2]] = one[1] - level else left = left - one[1] end
  end
  return excess
end

-- The same with all guests as one sender among the others.
local function excesses_of(all, size)
  local users, guests, together = {}, {}, 0
  for _, entry in ipairs(all) do
    local author = entry[2][2]
    if string.sub(author, 1, 6) == 'guest:' then
      guests[author], together = (guests[author] or 0) + 1, together + 1
    else
      users[author] = (users[author] or 0) + 1
    end
  end
  if together > 0 then users['guest:'] = together end
  local excess = excesses(users, size)
  if excess['guest:'] then
    for guest, count in pairs(excesses(guests, together - excess['guest:'])) do excess[guest] = count end
  end
  return excess
end

local function delete(streams, ids)
  for at = 1, #ids, 500 do
    local some = { unpack(ids, at, math.min(at + 499, #ids)) }
    for _, stream in ipairs(streams) do redis.call('XDEL', stream, unpack(some)) end
    local fields = {}
    for _, id in ipairs(some) do
      local offset = string.match(id, '^%d+')
      for _, kind in ipairs({ 'e', 'd', 'r' }) do fields[#fields + 1] = offset .. kind end
    end
    redis.call('HDEL', KEYS[3], unpack(fields))
  end
end

-- To be called after every `spare(size)` calls of `note_sender`, and after the last.
local function thin(senders, size)
  local surplus = redis.call('XLEN', senders) - size
  if surplus < spare(size) then return end
  local all, gone = redis.call('XRANGE', senders, '-', '+'), {}
  local excess = excesses_of(all, size)
  for _, entry in ipairs(all) do
    local sender = entry[2][2]
    if #gone < surplus and (excess[sender] or 0) > 0 then
      excess[sender] = excess[sender] - 1
      gone[#gone + 1] = entry[1]
    end
  end
  delete({ KEYS[2], senders }, gone)
  local dropped = tonumber(string.match(gone[#gone], '^%d+'))
  if dropped > tonumber(redis.call('HGET', KEYS[1], 'dropped') or 0) then
    redis.call('HSET', KEYS[1], 'dropped', text(dropped))
  end
end
