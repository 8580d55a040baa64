import { EXIT_CODES } from './exit-code';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs work that can end early in an orderly way: the first SIGINT or SIGTERM aborts its signal, a
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
