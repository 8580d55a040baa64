import type { ErrorReport } from './error-report';
import { visible } from './visible';

/** What a command has to say, for people and for programs. */
export interface CommandResult {
  /** The one JSON document of `--json`. */
  readonly document: object;
  readonly text: string;
}

/** Where the command writes: results to stdout, everything else to stderr. */
export interface Output {
  readonly json: boolean;
  result(result: CommandResult): void;
  error(report: ErrorReport, stack: string | undefined): void;
  /** A line about work under way; nothing with `--json`. */
  progress(line: string): void;
  /** Gives stdout back. */
  close(): void;
}

/**
 * Takes stdout for the result alone: with `--json`, what the application's own modules print there
 * goes to stderr instead.
 */
export function openOutput(json: boolean): Output {
  const { stdout, stderr } = process;
  const write = stdout.write.bind(stdout);
  if (json) stdout.write = stderr.write.bind(stderr);
  return {
    json,
    result: ({ document, text }) => {
      write(`${visible(json ? JSON.stringify(document, null, 2) : text)}\n`);
    },
    error: ({ code, message, remedy }, stack) => {
      const shown = stack === undefined ? {} : { stack };
      const lines = [`error ${code}: ${message}`, remedy, ...Object.values(shown)];
      const text = json
        ? JSON.stringify({ error: { code, message, remedy, ...shown } }, null, 2)
        : lines.join('\n');
      stderr.write(`${visible(text)}\n`);
    },
    progress: (line) => {
      if (!json) stderr.write(`${visible(line)}\n`);
    },
    close: () => {
      stdout.write = write;
    },
  };
}
