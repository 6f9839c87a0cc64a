-- One replica's question about one number of slots: what it keeps, what it would like (decision 0013).
--
-- KEYS[1]  the limit. A hash: for each replica `r:<id>` = "<number of its last question> <what it holds> <until when>".
-- ARGV     id, number, keep, need, least, extra, limit, ttl_ms
-- Returns  {1, granted, free, 0}, or {0} where a later question has been answered already.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, number = 'r:' .. ARGV[1], tonumber(ARGV[2])
local keep, need, least, extra = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local limit, ttl = tonumber(ARGV[7]), tonumber(ARGV[8])

local others, gone = 0, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local name, value = all[i], all[i + 1]
  local n, held, till = string.match(value, '^(%S+) (%S+) (%S+)$')
  n, held, till = tonumber(n), tonumber(held), tonumber(till)
  if name == me then
    if number <= n then return {0} end
  elseif till > now then
    others = others + held
  else
    gone[#gone + 1] = name
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone, 1, math.min(#gone, 100))) end

local free = limit - others - keep
local granted = 0
if need > 0 and free >= least then granted = math.min(need, free) end
local rest = free - granted
if extra > 0 and granted == need and rest > 1 then granted = granted + math.min(extra, math.floor(rest / 2)) end

local held = keep + granted
redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f %.0f', number, held, now + ttl * 1000))
redis.call('PEXPIRE', KEYS[1], ttl * 2)
return {1, granted, math.max(0, free - granted), 0}
