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

/** The rate of a run in rows a second since it was created, without those that were done before. */
class Rate {
  readonly #start = performance.now();

  of({ scanned, doneBefore }: RunProgress): number {
    const seconds = (performance.now() - this.#start) / 1000;
    return seconds === 0 ? 0 : Math.round((scanned - doneBefore) / seconds);
  }

  /** Returns the seconds that the rest takes at this rate. */
  secondsLeft(progress: RunProgress): number {
    const rate = this.of(progress);
    return rate === 0 ? 0 : Math.ceil((progress.total - progress.scanned) / rate);
  }
}

class Bar implements ProgressDisplay {
  readonly #rate = new Rate();
  readonly #bar = new SingleBar(
    {
      format:
        '{entity} [{bar}] {percentage}% | {value} of {total} rows | {rate} rows/s | {left} left',
      stream: process.stderr,
      hideCursor: true,
    },
    Presets.legacy,
  );
  #started = false;

  update(progress: RunProgress): void {
    const { entity, scanned, total } = progress;
    const payload = {
      entity,
      rate: grouped(this.#rate.of(progress)),
      left: `${String(this.#rate.secondsLeft(progress))} s`,
    };
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
  readonly #rate = new Rate();
  readonly #output: Output;
  #lastLine = 0;
  #latest: RunProgress | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  update(progress: RunProgress): void {
    this.#latest = progress;
    if (performance.now() - this.#lastLine >= LINE_INTERVAL) this.#print(progress);
  }

  /** Prints the last page, which may have come between two lines. */
  stop(): void {
    if (this.#latest !== undefined) this.#print(this.#latest);
  }

  #print(progress: RunProgress): void {
    this.#lastLine = performance.now();
    this.#latest = undefined;
    const { entity, scanned, total } = progress;
    this.#output.progress(
      `${entity}: ${grouped(scanned)} of ${grouped(total)} rows, ${grouped(this.#rate.of(progress))} rows/s, ` +
        `${String(this.#rate.secondsLeft(progress))} s left`,
    );
  }
}
