import { markup } from './markup';
import type { Markup } from './markup';

/** Units of the drawing, which scales to the page. */
const WIDTH = 720;
const LABEL_WIDTH = 240;
const ROW_HEIGHT = 22;
const BAR_HEIGHT = 14;
const CHAR_WIDTH = 6.2;
const PLOT_WIDTH = WIDTH - LABEL_WIDTH;

/** A part of a bar, from 0 to 1 along it. */
export interface Segment {
  readonly from: number;
  readonly to: number;
  /** A class of the style sheet. */
  readonly kind: string;
  /** What it stands for, in words; shown in it where there is room. */
  readonly title: string;
}

/** A labelled row of a chart. */
export interface Bar {
  readonly label: string;
  readonly segments: readonly Segment[];
}

/** Draws bars below each other, with what the ends of the scale stand for. */
export function barChart(
  title: string,
  bars: readonly Bar[],
  ends: readonly [string, string],
): Markup {
  const height = (bars.length + 1) * ROW_HEIGHT;
  const y = bars.length * ROW_HEIGHT + BAR_HEIGHT;
  return markup`<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${title}">
${bars.map((bar, row) => barOf(bar, row * ROW_HEIGHT))}
<text x="${LABEL_WIDTH}" y="${y}" class="axis">${ends[0]}</text>
<text x="${WIDTH}" y="${y}" class="axis end">${ends[1]}</text>
</svg>`;
}

function barOf({ label, segments }: Bar, y: number): Markup {
  return markup`<text x="${LABEL_WIDTH - 8}" y="${y + 12}" class="end">${shortened(label, LABEL_WIDTH)}<title>${label}</title></text>
<rect x="${LABEL_WIDTH}" y="${y + 1}" width="${PLOT_WIDTH}" height="${BAR_HEIGHT}" class="empty"/>
${segments.map((segment) => segmentOf(segment, y))}`;
}

function segmentOf({ from, to, kind, title }: Segment, y: number): Markup {
  const [start, end] = [clamped(from), clamped(to)];
  // What exists is seen, however small its share is.
  const width = Math.max(2, (end - start) * PLOT_WIDTH);
  const x = Math.min(LABEL_WIDTH + start * PLOT_WIDTH, WIDTH - width);
  const text = title.length * CHAR_WIDTH < width ? title : '';
  return markup`<rect x="${x.toFixed(1)}" y="${y + 1}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" class="${kind}"><title>${title}</title></rect>
<text x="${(x + 4).toFixed(1)}" y="${y + 12}" class="inside ${kind}">${text}</text>`;
}

function clamped(share: number): number {
  return Math.min(1, Math.max(0, share));
}

/** Cuts the middle out of a label that is too long: names differ at their ends. */
function shortened(label: string, width: number): string {
  const most = Math.floor(width / CHAR_WIDTH) - 2;
  if (label.length <= most) return label;
  const half = Math.floor((most - 1) / 2);
  return `${label.slice(0, half)}…${label.slice(-half)}`;
}
