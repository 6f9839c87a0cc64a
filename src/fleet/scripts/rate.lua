-- One replica's question about one rate: what it spent, what it keeps, what it would like (decision 0013).
--
-- KEYS[1]  the limit. A hash: `s` what was spent and is not earned back, `at` since when (microseconds), and for
--          each replica `r:<id>` = "<number of its last question> <its total> <what it holds> <until when>".
-- ARGV     id, number, keep, total, unconfirmed, known, need, least, extra, burst, per_minute, ttl_ms
-- Returns  {1, granted, free, wait in microseconds}, or {0} where a later question has been answered already.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, number = 'r:' .. ARGV[1], tonumber(ARGV[2])
local keep, total, unconfirmed, known = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local need, least, extra = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local burst, pace, ttl = tonumber(ARGV[10]), tonumber(ARGV[11]) / 60000000, tonumber(ARGV[12]) * 1000
local FORGET = 600000000

local spent, at, others, mine = 0, now, 0, nil
local late, gone = 0, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local name, value = all[i], all[i + 1]
  if name == 's' then
    spent = tonumber(value)
  elseif name == 'at' then
    at = tonumber(value)
  else
    local n, t, held, till = string.match(value, '^(%S+) (%S+) (%S+) (%S+)$')
    n, t, held, till = tonumber(n), tonumber(t), tonumber(held), tonumber(till)
    local over = till <= now
    if name == me then
      if number <= n then return {0} end
      mine = t
      -- Nobody knows what became of a hold that ran out: it counts as spent, now.
      if over then late = late + held end
    elseif not over then
      others = others + held
    else
      late = late + held
      if held > 0 then redis.call('HSET', KEYS[1], name, string.format('%.0f %.0f 0 %.0f', n, t, till)) end
      if till + FORGET <= now then gone[#gone + 1] = name end
    end
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone, 1, math.min(#gone, 100))) end

-- Redis's clock may step back: then nothing is earned, and it goes on from there.
spent = math.max(0, spent - math.max(0, now - at) * pace) + late
-- Without a memory of this replica (a new one, or the data is lost) its own count stands in.
local told = mine and (total - mine) or math.max(unconfirmed, known)
spent = math.max(0, spent + told)

local free = burst - spent - others - keep
local granted = 0
if need > 0 and free >= least then granted = math.min(need, math.floor(free)) end
local rest = math.floor(free - granted)
if extra > 0 and granted == need and rest > 1 then granted = granted + math.min(extra, math.floor(rest / 2)) end
local wait = 0
if granted < need then wait = math.ceil(math.max(0, least - (free - granted)) / pace) end

local held = keep + granted
redis.call('HSET', KEYS[1], 's', string.format('%.17g', spent), 'at', string.format('%.0f', now),
  me, string.format('%.0f %.0f %.0f %.0f', number, total, held, now + ttl))
redis.call('PEXPIRE', KEYS[1], math.min(2592000000, math.ceil((spent + held + others) / pace / 1000 + (ttl + FORGET) / 1000)))
return {1, granted, math.max(0, math.floor(free - granted)), math.min(wait, 9e15)}
