import { inflateSync } from 'node:zlib';

/**
 * Counts the pixels of each colour, as `#rrggbb`, in a PNG with 8 bits per channel and without interlacing, which
 * browsers write.
 */
export function pngColours(png: Buffer): Map<string, number> {
  const { header, data } = chunksOf(png);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const channels = { 2: 3, 6: 4 }[header.readUInt8(9)];
  if (header.readUInt8(8) !== 8 || channels === undefined || header.readUInt8(12) !== 0) {
    throw new Error('The PNG is in a form that is not read here.');
  }
  const colours = new Map<string, number>();
  const length = width * channels;
  let above = Buffer.alloc(length);
  for (let y = 0; y < height; y++) {
    const at = y * (length + 1);
    const line = Buffer.from(data.subarray(at + 1, at + 1 + length));
    unfilter(line, above, channels, data.readUInt8(at));
    for (let x = 0; x < length; x += channels) {
      const colour = `#${line.toString('hex', x, x + 3)}`;
      colours.set(colour, (colours.get(colour) ?? 0) + 1);
    }
    above = line;
  }
  return colours;
}

function chunksOf(png: Buffer): { header: Buffer; data: Buffer } {
  const chunks: { type: string; content: Buffer }[] = [];
  for (let at = 8; at < png.length;) {
    const end = at + 8 + png.readUInt32BE(at);
    chunks.push({
      type: png.toString('latin1', at + 4, at + 8),
      content: png.subarray(at + 8, end),
    });
    at = end + 4;
  }
  const of = (wanted: string): Buffer =>
    Buffer.concat(chunks.flatMap(({ type, content }) => (type === wanted ? content : [])));
  return { header: of('IHDR'), data: inflateSync(of('IDAT')) };
}

/** Undoes the filter of a line, by the bytes left of it, above, and above on the left. */
function unfilter(line: Buffer, above: Buffer, channels: number, filter: number): void {
  for (const [i, byte] of line.entries()) {
    const left = line[i - channels] ?? 0;
    const up = above[i] ?? 0;
    const corner = above[i - channels] ?? 0;
    const predicted = [0, left, up, (left + up) >> 1, nearest(left, up, corner)][filter] ?? 0;
    line[i] = byte + predicted;
  }
}

/** Returns the neighbour that is nearest to left + up - corner. */
function nearest(left: number, up: number, corner: number): number {
  const far = (neighbour: number): number => Math.abs(left + up - corner - neighbour);
  if (far(left) <= far(up) && far(left) <= far(corner)) return left;
  return far(up) <= far(corner) ? up : corner;
}
