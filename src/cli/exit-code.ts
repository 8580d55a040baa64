/** What the command tells the shell; part of its interface. */
export const EXIT_CODES = Object.freeze({ done: 0, failed: 1, wrongUsage: 2, interrupted: 130 });

/** One of {@link EXIT_CODES}. */
export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];
