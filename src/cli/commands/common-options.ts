import { InvalidArgumentError } from 'commander';
import type { ExitCode } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import type { Session } from '../load/session';

/** What a command does once the DataSource is connected. */
export type CommandWork = (
  session: Session,
) => Promise<CommandResult & { readonly exitCode?: ExitCode }>;

/** Tells what the command line asked for. */
export type ChooseWork = (work: CommandWork) => void;

/** The option of every command that changes something. */
export const DRY_RUN = ['--dry-run', 'show what would change and change nothing'] as const;

/** What {@link DRY_RUN} gives. */
export interface DryRunOption {
  readonly dryRun?: boolean;
}

/** Reads a whole number from 1. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('It must be a whole number from 1.');
}
