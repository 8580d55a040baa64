/** A bar with the text at its end. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly text: string;
  /** Whether it is of this library, and has the colour that stands out. */
  readonly ours: boolean;
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

export interface BarChart {
  readonly title: string;
  readonly groups: readonly BarGroup[];
}

const WIDTH = 800;
const LABEL_WIDTH = 330;
const BAR_WIDTH = 370;
const ROW_HEIGHT = 20;
const GROUP_GAP = 34;
const HEADING_HEIGHT = 30;

const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #1f2328 }
    .title { font-size: 15px; font-weight: 600 }
    .group { font-weight: 600 }
    .label { text-anchor: end }
    .ours { fill: #0969da }
    .other { fill: #8c959f }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .ours { fill: #4493f8 }
      .other { fill: #6e7681 }
    }
  `;

/** Draws horizontal bars on one scale, as an SVG that follows the reader's colour scheme. */
export function barChart({ title, groups }: BarChart): string {
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const parts: string[] = [];
  let y = HEADING_HEIGHT;
  for (const group of groups) {
    parts.push(text({ class: 'group', x: 0, y: y + 20 }, group.title));
    y += GROUP_GAP;
    for (const bar of group.bars) {
      parts.push(...drawBar(bar, y, longest));
      y += ROW_HEIGHT;
    }
  }
  const height = y + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${String(WIDTH)} ${String(height)}" width="${String(WIDTH)}" height="${String(height)}" role="img">`,
    `  <title>${escape(title)}</title>`,
    `  <style>${STYLE}</style>`,
    ...[text({ class: 'title', x: 0, y: 18 }, title), ...parts].map((part) => `  ${part}`),
    '</svg>\n',
  ].join('\n');
}

function drawBar({ label, value, text: end, ours }: Bar, y: number, longest: number): string[] {
  const width = Math.max(1, Math.round((value / longest) * BAR_WIDTH));
  const bar = { class: ours ? 'ours' : 'other', x: LABEL_WIDTH, y, width, height: ROW_HEIGHT - 5 };
  return [
    text({ class: 'label', x: LABEL_WIDTH - 8, y: y + 12 }, label),
    `<rect ${attributes(bar)} rx="2"/>`,
    text({ x: LABEL_WIDTH + width + 6, y: y + 12 }, end),
  ];
}

function text(properties: Record<string, string | number>, content: string): string {
  return `<text ${attributes(properties)}>${escape(content)}</text>`;
}

function attributes(properties: Record<string, string | number>): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name}="${String(value)}"`)
    .join(' ');
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
