import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { Session } from '../load/session';
import { CommandError } from '../terminal/command-error';
import type { ExitCode } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';

/** The work of a command, once the DataSource is connected. */
export type CommandWork = (
  session: Session,
) => Promise<CommandResult & { readonly exitCode?: ExitCode }>;

/** The work of a command that takes no DataSource. */
export type OfflineWork = () => CommandResult & { readonly exitCode?: ExitCode };

/** Receives the work that the command line asks for. */
export type ChooseWork = (work: CommandWork) => void;
export type ChooseOffline = (work: OfflineWork) => void;

/** The option of every command that changes something. */
export const DRY_RUN = ['--dry-run', 'show what would change and change nothing'] as const;

/** The value of {@link DRY_RUN}. */
export interface DryRunOption {
  readonly dryRun?: boolean;
}

/** The option of every command that asks. */
export const YES = ['--yes', 'do it without asking'] as const;

/** Reads a time, such as `2026-11-01` or `2026-11-01T12:00Z`. */
export function time(text: string): Date {
  const value = new Date(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(value.getTime())) return value;
  throw new InvalidArgumentError('It must be a date, or a date and a time.');
}

/** Reads a whole number from 1. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

/** Reads a number of whole minutes from 0. */
export function minutes(text: string): number {
  const value = Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be a whole number of minutes from 0.');
}

/** Reads a reason for the audit log. */
export function reason(text: string): string {
  if (text.length >= 1 && text.length <= 64) return text;
  throw new InvalidArgumentError('It must be a text of 1 to 64 characters.');
}

/** Reads a number of days from 0. */
export function days(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be a number of days.');
}

/** Collects the values of an option that is given several times. */
export function collected(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** The values of the options that name scopes. */
export interface ScopeFlags {
  readonly scope?: readonly string[] | undefined;
  readonly kind?: string | undefined;
}

/** @throws {@link CommandError} for a kind without scopes */
export function requireScopeOf({ scope, kind }: ScopeFlags): void {
  if (scope !== undefined || kind === undefined) return;
  throw new CommandError(
    'ERR_USAGE',
    '--kind says of which kind the scopes of --scope are, and there are none.',
    'Give --scope, too.',
  );
}

/** Adds the options that name scopes. */
export function withScopes(command: Command, scopes: string): Command {
  return command
    .option('--scope <id>', `${scopes}; may be given several times`, collected)
    .option('--kind <kind>', 'kind of the scopes, such as tenant; needed where there are several');
}

/** Reads the id of a key. */
export function keyId(text: string): string {
  if (/^[0-9a-f]{16}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be 16 hexadecimal digits; see keys list.');
}

/** Reads one more id of a key. */
export function keyIds(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, keyId(text)];
}
