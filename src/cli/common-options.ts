import type { ExitCode } from './exit-code';
import type { CommandResult } from './output';
import type { Session } from './session';

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
