"""What runs inside the server, each atomically: other clients see all of it or nothing.

A script writes first what the server may refuse for want of memory or disk; a refused one has changed nothing.
Offsets and counts are Lua numbers, exact below 2^53; producer sequences (64 bits) are compared as 8 bytes, big endian.
docs/formats/redis.md describes what they keep.
"""

import hashlib
from dataclasses import dataclass, field

from writebuffer.redis.keys import Keys

SENT_RUNS = 16_384
"""So many runs of sequences are remembered of one sequencer at least, and at most twice as many: some 5 MB of memory.
Even at 1,000 batches a second they reach back 16 s, longer than a writer tries a batch again by default."""


_COMMON = r"""
local function id(offset) return string.format('0-%.0f', offset + 1) end
local function offset_of(entry) return tonumber(string.sub(entry, 3)) - 1 end
local function first_offset(records, next_offset)
  local oldest = redis.call('XRANGE', records, '-', '+', 'COUNT', 1)[1]
  return oldest and offset_of(oldest[1]) or next_offset
end
local function forked(why) return redis.error_reply('FORKED ' .. why) end
"""


@dataclass(frozen=True)
class Script:
    """names: of the keys it uses (fields of Keys), and no others: while a cluster moves a slot, a call that names keys
    which are not there is put off. shebang: the first line, for the server.
    """

    names: tuple[str, ...]
    body: str = field(repr=False)
    shebang: str = ""
    text: bytes = field(init=False, repr=False)
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        text = f"{self.shebang}\nlocal {', '.join(self.names)} = unpack(KEYS)\n{_COMMON}{self.body}".encode()
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "sha", hashlib.sha1(text).hexdigest().encode())

    def call(self, keys: Keys, *arguments: bytes) -> tuple[bytes, ...]:
        """The command that runs it, where the server knows it."""
        return (b"EVALSHA", self.sha, *self._rest(keys, arguments))

    def first_call(self, keys: Keys, *arguments: bytes) -> tuple[bytes, ...]:
        """The same where the server does not."""
        return (b"EVAL", self.text, *self._rest(keys, arguments))

    def _rest(self, keys: Keys, arguments: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return (b"%d" % len(self.names), *keys.named(self.names), *arguments)


_ALL = ("records", "state", "sent", "sent_before", "batches")

MAKE = Script(
    _ALL,
    r"""
-- ARGV: identity. The keys of a sequencer that has none yet; all of them, so that none is missing while a slot moves.
if redis.call('HEXISTS', state, 'identity') == 0 then
  if redis.call('EXISTS', records, sent, sent_before, batches) > 0 then
    return redis.error_reply('ORPHANED keys without their state')
  end
  redis.call('HSET', state, 'identity', ARGV[1], 'next', 0, 'bytes', 0, 'horizon', 0, 'young', 0)
end
for _, stream in ipairs({records, batches}) do
  if redis.call('EXISTS', stream) == 0 then
    redis.call('XGROUP', 'CREATE', stream, 'none', '0', 'MKSTREAM')
    redis.call('XGROUP', 'DESTROY', stream, 'none')
  end
end
-- The empty member comes before every run, so no search finds it.
for _, set in ipairs({sent, sent_before}) do
  if redis.call('EXISTS', set) == 0 then redis.call('ZADD', set, 0, '') end
end
""",
)

APPEND = Script(
    _ALL,
    f"\nlocal SENT_RUNS = {SENT_RUNS}\n"
    r"""
-- ARGV: identity, next offset known to the writer, offset from which its doubts reach back (or ''), the run that must
-- be stored before this batch (or ''), the batch's greatest append time, its runs, its records.
local function distance(from, to)
  local from_high, from_low = struct.unpack('>I4I4', from)
  local to_high, to_low = struct.unpack('>I4I4', to)
  return (to_high - from_high) * 4294967296 + (to_low - from_low)
end
local function plus(sequence, count)
  local high, low = struct.unpack('>I4I4', sequence)
  low = low + count
  if low >= 4294967296 then high, low = high + 1, low - 4294967296 end
  return struct.pack('>I4I4', high, low)
end
-- The remembered run with sequences of low..high, or nothing. Runs never overlap, so the last that starts at or below
-- `high` is the only one to look at.
local function remembered(producer, low, high)
  for _, key in ipairs({sent, sent_before}) do
    local highest = '[' .. producer .. high .. string.rep('\255', 13)
    local run = redis.call('ZREVRANGEBYLEX', key, highest, '[' .. producer, 'LIMIT', 0, 1)[1]
    if run then
      local first = string.sub(run, 17, 24)
      local count, offset = struct.unpack('>I4I8', run, 25)
      if distance(first, low) < count then return first, count, offset end
    end
  end
end

local kept = redis.call('HMGET', state, 'identity', 'next', 'bytes', 'horizon', 'young')
if kept[1] ~= ARGV[1] then return forked('identity ' .. (kept[1] or 'none')) end
local next_offset, bytes = tonumber(kept[2]), tonumber(kept[3])
if next_offset < tonumber(ARGV[2]) then return forked('next ' .. kept[2]) end
if ARGV[3] ~= '' and tonumber(kept[4]) > tonumber(ARGV[3]) then return redis.error_reply('FORGOTTEN ' .. kept[4]) end
if ARGV[4] ~= '' then
  local sequence = string.sub(ARGV[4], 17, 24)
  if not remembered(string.sub(ARGV[4], 1, 16), sequence, sequence) then
    return redis.error_reply('HELD after a batch that is not stored')
  end
end
if redis.call('ZCARD', sent) > SENT_RUNS then
  redis.call('RENAME', sent, sent_before)
  redis.call('ZADD', sent, 0, '')
  redis.call('HSET', state, 'horizon', kept[5], 'young', kept[2])
end

local first_new, bytes_before = next_offset, bytes
local reply, argument = {0}, 7
local function append(producer, sequence, count)
  for i = argument, argument + count - 1 do
    redis.call('XADD', records, id(next_offset + i - argument), 'r', ARGV[i])
    bytes = bytes + #ARGV[i]
  end
  redis.call('ZADD', sent, 0, producer .. sequence .. struct.pack('>I4I8', count, next_offset))
  reply[#reply + 1] = next_offset
  reply[#reply + 1] = count
  next_offset, argument = next_offset + count, argument + count
end
local function append_one(producer, sequence)
  local first, _, offset = remembered(producer, sequence, sequence)
  if not first then return append(producer, sequence, 1) end
  reply[#reply + 1] = offset + distance(first, sequence)
  reply[#reply + 1] = 1
  argument = argument + 1
end
for at = 1, #ARGV[6], 36 do
  local run = string.sub(ARGV[6], at, at + 35)
  local producer, low, high = string.sub(run, 1, 16), string.sub(run, 17, 24), string.sub(run, 25, 32)
  local count = struct.unpack('>I4', run, 33)
  if remembered(producer, low, high) then
    for i = 0, count - 1 do append_one(producer, plus(low, i)) end
  else
    append(producer, low, count)
  end
end

local next_text = string.format('%.0f', next_offset)
redis.call('HSET', state, 'next', next_text, 'bytes', string.format('%.0f', bytes))
if next_offset > first_new then
  redis.call('XADD', batches, id(first_new), 'b', string.format('%.0f', bytes_before), 't', ARGV[5])
end
reply[1] = next_offset
return reply
""",
)

LOOK = Script(
    ("records", "state", "batches"),
    r"""
-- Identity, first and next offset, bytes of the records that are there. Without a state: how many other keys are there.
local kept = redis.call('HMGET', state, 'identity', 'next', 'bytes')
if not kept[1] then return redis.call('EXISTS', records, batches) end
local next_offset = tonumber(kept[2])
local oldest = redis.call('XRANGE', batches, '-', '+', 'COUNT', 1)[1]
local bytes = oldest and tonumber(kept[3]) - tonumber(oldest[2][2]) or 0
return {kept[1], first_offset(records, next_offset), next_offset, bytes}
""",
)

TRIM = Script(
    ("records", "state", "batches"),
    r"""
-- ARGV: identity, offset below which to remove. Returns the first offset left.
local kept = redis.call('HMGET', state, 'identity', 'next')
if kept[1] ~= ARGV[1] then return forked('identity ' .. (kept[1] or 'none')) end
local next_offset = tonumber(kept[2])
local before = math.min(tonumber(ARGV[2]), next_offset)
redis.call('XTRIM', records, 'MINID', id(before))
local holding = redis.call('XREVRANGE', batches, id(before), '-', 'COUNT', 1)[1]
if before == next_offset then
  redis.call('XTRIM', batches, 'MINID', id(before))
elseif holding then
  redis.call('XTRIM', batches, 'MINID', holding[1])
end
return first_offset(records, next_offset)
""",
)

FIND_TIME = Script(
    ("records",),
    r"""
-- ARGV: first and end offset of a stretch, a time (8 bytes, big endian), how many records to look at. The first record
-- at or after the time: {1, offset}; {0, offset} where there is none below that offset.
local high, low = struct.unpack('>i4I4', ARGV[3])
local entries = redis.call('XRANGE', records, id(tonumber(ARGV[1])), id(tonumber(ARGV[2]) - 1), 'COUNT', ARGV[4])
local offset = tonumber(ARGV[2])
for _, entry in ipairs(entries) do
  offset = offset_of(entry[1])
  local entry_low, entry_high = struct.unpack('<I4i4', entry[2][2], 33)
  if entry_high > high or (entry_high == high and entry_low >= low) then return {1, offset} end
end
return {0, #entries < tonumber(ARGV[4]) and tonumber(ARGV[2]) or offset + 1}
""",
)

CONFIRM = Script(
    ("state",),
    r"""
-- ARGV: identity. A write that changes nothing, for WAIT to wait for. It takes no memory: a full server must be read
-- to get empty again.
if redis.call('HGET', state, 'identity') ~= ARGV[1] then return forked('identity') end
redis.call('HSET', state, 'identity', ARGV[1])
""",
    shebang="#!lua flags=allow-oom",
)
