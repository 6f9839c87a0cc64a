-- One replica's question about one window of one quota: what it settled, what it keeps, what it needs (decision 0013).
--
-- KEYS[1]  the window. A hash: for each ledger (`-` for none) `l:<ledger>` = what processes that are gone have settled,
--          three numbers (nano-dollars, tokens, requests), and for each process `r:<id>` = "<ledger> <number of its
--          last question> <until when, microseconds>", what it settled, three numbers, and its tops, three numbers.
-- ARGV     id, number, ledger, ttl_ms, keep_ms (0: for good), leaves (0 or 1); then for each of the three measures
--          settled, top, base, known, need, least, extra, limit (-1: none)
-- Returns  {1, granted ×3, what the others hold ×3, what the others have settled ×3}, or {0} where a later question
--          has been answered already.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, number, ledger = 'r:' .. ARGV[1], tonumber(ARGV[2]), ARGV[3]
local ttl, keep, leaves = tonumber(ARGV[4]) * 1000, tonumber(ARGV[5]), ARGV[6] == '1'
local FORGET = 86400000000

local settled, top, need, least, extra, limit, base, known = {}, {}, {}, {}, {}, {}, {}, {}
for m = 1, 3 do
  local at = 6 + (m - 1) * 8
  settled[m], top[m] = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  base[m], known[m] = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  need[m], least[m] = tonumber(ARGV[at + 5]), math.max(1, tonumber(ARGV[at + 6]))
  extra[m], limit[m] = tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8])
end

local books = {[ledger] = {0, 0, 0}}
local others, done, mates = {0, 0, 0}, {0, 0, 0}, {0, 0, 0}
local gone, changed = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'l:' then
    local a, b, c = string.match(all[i + 1], '^(%S+) (%S+) (%S+)$')
    books[string.sub(all[i], 3)] = {tonumber(a), tonumber(b), tonumber(c)}
  end
end
for i = 1, #all, 2 do
  local name = all[i]
  if string.sub(name, 1, 2) == 'r:' then
    local of, n, till, a, b, c, d, e, f =
      string.match(all[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
    till = tonumber(till)
    local s, t = {tonumber(a), tonumber(b), tonumber(c)}, {tonumber(d), tonumber(e), tonumber(f)}
    if name == me then
      if number <= tonumber(n) then return {0} end
    else
      -- What a silent one had reserved or borrowed comes back, what it settled stays.
      local over = till <= now
      local forgotten = over and till + FORGET <= now
      if forgotten then
        local book = books[of] or {0, 0, 0}
        for m = 1, 3 do book[m] = book[m] + s[m] end
        books[of], changed[of] = book, true
        gone[#gone + 1] = name
      else
        for m = 1, 3 do
          done[m] = done[m] + s[m]
          others[m] = others[m] + (over and s[m] or t[m])
          if of == ledger then mates[m] = mates[m] + s[m] end
        end
      end
    end
  end
end
-- What this ledger knows of earlier processes and the store does not (it lost its data, or is new) is believed.
for m = 1, 3 do
  local lacks = base[m] - books[ledger][m] - mates[m]
  if lacks > 0 then
    books[ledger][m] = books[ledger][m] + lacks
    changed[ledger] = true
  end
end
for _, book in pairs(books) do
  for m = 1, 3 do
    done[m] = done[m] + book[m]
    others[m] = others[m] + book[m]
  end
end

-- All measures or none; the last one is let in however small the rest.
local free, grant, possible, whole = {}, {0, 0, 0}, true, true
for m = 1, 3 do
  -- A store that lost its data does not undo what this replica has heard of the others.
  free[m] = limit[m] - math.max(others[m], known[m]) - top[m]
  if limit[m] >= 0 and need[m] > 0 and free[m] <= 0 then possible = false end
end
if possible then
  for m = 1, 3 do
    if limit[m] >= 0 and need[m] > 0 then
      grant[m] = math.min(need[m], math.ceil(free[m] / least[m]) * least[m])
      if grant[m] < need[m] then whole = false end
    end
  end
  if whole then
    for m = 1, 3 do
      local rest = free[m] - grant[m]
      if limit[m] >= 0 and rest > 1 then grant[m] = grant[m] + math.min(extra[m], math.floor(rest / 2)) end
    end
  end
end

if leaves then
  for m = 1, 3 do books[ledger][m] = books[ledger][m] + settled[m] end
  changed[ledger] = true
end
for name in pairs(changed) do
  local book = books[name]
  if book[1] + book[2] + book[3] > 0 then
    redis.call('HSET', KEYS[1], 'l:' .. name, string.format('%.0f %.0f %.0f', book[1], book[2], book[3]))
  end
end
local sum = 0
for m = 1, 3 do sum = sum + settled[m] + top[m] + grant[m] end
if leaves or sum == 0 then
  gone[#gone + 1] = me
else
  redis.call('HSET', KEYS[1], me, string.format('%s %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f', ledger, number,
    now + ttl, settled[1], settled[2], settled[3], top[1] + grant[1], top[2] + grant[2], top[3] + grant[3]))
end
for i = 1, #gone do redis.call('HDEL', KEYS[1], gone[i]) end
if keep > 0 then redis.call('PEXPIRE', KEYS[1], keep) end
local MOST = 9000000000000000000
return {1, math.min(MOST, grant[1]), math.min(MOST, grant[2]), math.min(MOST, grant[3]),
  math.min(MOST, others[1]), math.min(MOST, others[2]), math.min(MOST, others[3]),
  math.min(MOST, done[1]), math.min(MOST, done[2]), math.min(MOST, done[3])}
