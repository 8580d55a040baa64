import type { KeyInfo } from '../../keys/key-info';
import type { CommandWork } from '../common-options';
import { EXIT_CODES } from '../exit-code';
import type { Session } from '../session';

/** Does what the key policies ask for; for a scheduler of the operating system or the cluster. */
export async function keysMaintain(
  { fieldEncryption }: Session,
  { dryRun }: { readonly dryRun: boolean },
): ReturnType<CommandWork> {
  const report = await fieldEncryption.keys.maintain({ dryRun });
  const { announced, activated, destroyed, stillNeeded, failures } = report;
  const would = dryRun ? 'would be ' : '';
  const lines = [
    ...announced.map((key) =>
      dryRun ? `${title(key)}: a new version would be announced` : `${title(key)}: announced`,
    ),
    ...activated.map((key) => `${title(key)}: ${would}activated`),
    ...destroyed.map(
      (key) => `${title(key)}: ${would}destroyed${dryRun ? ', unless rows need it' : ''}`,
    ),
    ...stillNeeded.map((key) => `${title(key)}: kept, rows need it: run data reencrypt`),
    ...failures.map(({ keyName, code, message }) => `${keyName}: ${code}: ${message}`),
  ];
  return {
    document: { dryRun, ...report },
    text: lines.length === 0 ? 'Nothing is due.' : lines.join('\n'),
    exitCode: failures.length === 0 ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

function title({ name, version, id }: KeyInfo): string {
  return `key "${name}" version ${String(version)} (${id})`;
}
