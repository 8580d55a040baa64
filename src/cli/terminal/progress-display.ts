import { performance } from 'node:perf_hooks';
import { Presets, SingleBar } from 'cli-progress';

import { grouped } from '../../doctor/finding';
import type { RunProgress } from '../../reencryption/report/run-report';

import { EXIT_CODES } from './command-error';
import type { Output } from './output';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs work that can stop early in an orderly way: the first SIGINT or SIGTERM aborts its signal, the
 * second one ends the process.
 */
export async function interruptibly<T>(
  work: (signal: AbortSignal) => Promise<T>,
  onInterrupt: () => void,
): Promise<T> {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) {
      process.stderr.write('Interrupted again: the page under way is given up.\n');
      process.exit(EXIT_CODES.interrupted);
    }
    controller.abort();
    onInterrupt();
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

/** Milliseconds between two plain lines. */
const LINE_INTERVAL = 2000;

/** A display of the progress of a run. */
export interface ProgressDisplay {
  update(progress: RunProgress): void;
  stop(): void;
}

/** Shows a bar with rate and time left on a terminal, plain lines elsewhere, nothing with `--json`. */
export function progressDisplay(output: Output): ProgressDisplay {
  return process.stderr.isTTY && !output.json ? new Bar() : new Lines(output);
}

/** Seconds that a rate is measured before it is shown: the first pages are small, and wait for what follows once. */
const MEASURED_SECONDS = 2;

/** The speed of a run since its first page, without the rows that were done before. */
class Speed {
  #first: { readonly at: number; readonly done: number } | undefined;

  /** Returns rate and time left, each after a separator; nothing before the rate is measured. */
  of({ scanned, total, doneBefore }: RunProgress, separator: string): string {
    const at = performance.now();
    const done = scanned - doneBefore;
    this.#first ??= { at, done };
    const seconds = (at - this.#first.at) / 1000;
    const rate = Math.round((done - this.#first.done) / seconds);
    if (seconds < MEASURED_SECONDS || rate === 0) return '';
    const left = Math.ceil((total - scanned) / rate);
    return `${separator}${grouped(rate)} rows/s${separator}${grouped(left)} s left`;
  }
}

class Bar implements ProgressDisplay {
  readonly #speed = new Speed();
  readonly #bar = new SingleBar(
    {
      format: '{entity} [{bar}] {percentage}% | {value} of {total} rows{speed}',
      stream: process.stderr,
      hideCursor: true,
    },
    Presets.legacy,
  );
  #started = false;

  update(progress: RunProgress): void {
    const { entity, scanned, total } = progress;
    const payload = { entity, speed: this.#speed.of(progress, ' | ') };
    if (!this.#started) this.#bar.start(total, scanned, payload);
    this.#started = true;
    this.#bar.setTotal(total);
    this.#bar.update(scanned, payload);
  }

  stop(): void {
    if (this.#started) this.#bar.stop();
  }
}

class Lines implements ProgressDisplay {
  readonly #speed = new Speed();
  readonly #output: Output;
  #printedAt = 0;
  /** Of the latest page, until it is printed. */
  #line: string | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  update(progress: RunProgress): void {
    const { entity, scanned, total } = progress;
    const speed = this.#speed.of(progress, ', ');
    this.#line = `${entity}: ${grouped(scanned)} of ${grouped(total)} rows in all tables${speed}`;
    if (performance.now() - this.#printedAt >= LINE_INTERVAL) this.#print(this.#line);
  }

  /** Prints the last page, which may have come between two lines. */
  stop(): void {
    if (this.#line !== undefined) this.#print(this.#line);
  }

  #print(line: string): void {
    this.#printedAt = performance.now();
    this.#line = undefined;
    this.#output.progress(line);
  }
}
