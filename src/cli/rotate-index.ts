import type { IndexRotation } from '../keys/index-rotation';
import type { CommandResult } from './output';
import type { Session } from './session';

/** Takes the next step of rotating the root of the blind indexes. */
export async function rotateIndex(
  { fieldEncryption }: Session,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const rotation = await fieldEncryption.keys.rotateIndex({ dryRun });
  const unchanged = dryRun ? ['Nothing was changed.'] : [];
  return {
    document: { dryRun, ...rotation },
    text: [...stepText(rotation, dryRun ? 'Would announce' : 'Announced'), ...unchanged].join('\n'),
  };
}

function stepText(
  { step, root, previous, activatableAt }: IndexRotation,
  announced: string,
): string[] {
  const title = root === null ? 'a new root' : `root version ${String(root.version)} (${root.id})`;
  const again = `Run the command again from ${activatableAt.toISOString()}, when every process has it.`;
  switch (step) {
    case 'announced':
      return [
        `${announced} ${title} of the blind indexes. New tokens are still of the old one.`,
        again,
      ];
    case 'waiting':
      return [`The ${title} was announced; a process may not have it yet.`, again];
    case 'activated':
      return [
        `New tokens are of ${title}; those of root ${previous.id} are found until it is destroyed.`,
        `Reindex all rows, then run: field-encryption keys destroy ${previous.id}`,
      ];
  }
}
