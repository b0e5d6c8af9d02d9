const deepest = 64;
const small = 65_536;
const large = 1_048_576;

const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * Whether JSON nests too deep to be worth parsing: a megabyte of `[` keeps `JSON.parse` busy for a quarter of a
 * second, a hundred times as long as honest text. What can do no harm is not looked through byte by byte: a small
 * body, and one of middling size with no more arrays than that.
 */
export function nestsTooDeep(bytes: Buffer): boolean {
  if (bytes.length < small || (bytes.length < large && !hasManyArrays(bytes))) return false;
  let depth = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (byte === quote) i = endOfString(bytes, i);
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      if (depth > deepest) return true;
    } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
  }
  return false;
}

function hasManyArrays(bytes: Buffer): boolean {
  let at = -1;
  for (let count = 0; count <= deepest; count += 1) {
    at = bytes.indexOf(openBracket, at + 1);
    if (at === -1) return false;
  }
  return true;
}

/** Where the string that starts at `start` ends. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at;
}
