import { performance } from 'node:perf_hooks';
import { Presets, SingleBar } from 'cli-progress';
import Table from 'cli-table3';

let steps = 0;
const timings: [string, string][] = [];

export function title(text: string): void {
  console.log(`\n${text}\n${'='.repeat(text.length)}`);
}

export function step(text: string): void {
  steps += 1;
  console.log(`\n${String(steps)}. ${text}\n`);
}

export function say(text: string): void {
  console.log(`   ${text}`);
}

/** Prints rows as a table, without the middle of long cells. */
export function show(rows: readonly Record<string, unknown>[], width = 30): void {
  const columns = Object.keys(rows[0] ?? {});
  const table = new Table({ head: columns, style: { head: [], border: [], compact: true } });
  for (const row of rows) table.push(columns.map((column) => cut(cell(row[column]), width)));
  console.log(table.toString().replace(/^/gm, '   '));
}

/** Runs work and records its time, for {@link showTimings}. */
export async function timed<T>(what: string, work: () => Promise<T>, rows?: number): Promise<T> {
  const start = performance.now();
  const result = await work();
  const ms = performance.now() - start;
  const rate = rows === undefined ? '' : `, ${grouped(Math.round((rows / ms) * 1000))} rows/s`;
  timings.push([what, `${ms < 100 ? ms.toFixed(1) : grouped(Math.round(ms))} ms${rate}`]);
  return result;
}

export function showTimings(): void {
  for (const [what, took] of timings) say(`${what.padEnd(46)}${took}`);
}

/** Shows a progress bar on a terminal, one line elsewhere. */
export function progressBar(): { update(done: number, total: number): void; stop(): void } {
  const bar = new SingleBar(
    {
      format: '   [{bar}] {percentage}% | {value} of {total} rows | {duration_formatted}',
      stream: process.stdout,
      noTTYOutput: false,
      hideCursor: true,
    },
    Presets.legacy,
  );
  let last = '';
  return {
    update: (done, total) => {
      if (!bar.isActive) bar.start(total, 0);
      bar.update(done);
      last = `${grouped(done)} of ${grouped(total)} rows`;
    },
    stop: () => {
      bar.stop();
      if (!process.stdout.isTTY) say(last);
    },
  };
}

export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

function cell(value: unknown): string {
  if (value === null) return 'NULL';
  if (value instanceof Date) return value.toISOString().slice(0, 10);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 6)}...${text.slice(-3)}`;
}
