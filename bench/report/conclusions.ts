import { WITHOUT_ADD_ON } from '../scenarios/without-add-on';
import { VARIANTS } from '../variants';

import { ratios, UNMEASURED } from './ratios';
import type { Report } from './report';

const { plain, transformer, typeormEncrypted, xaes, xchacha, reencrypt, saveEach, serverSide } =
  VARIANTS;

/** Writes what a user should conclude from the figures, in sentences that quote them. */
export function conclusions(report: Report): string {
  const over = (scenario: string, variant: string, base: string): string =>
    ratios(report, scenario, variant, base);
  return [
    `**Install the add-on.** A \`find()\` of a whole table with four of ten columns encrypted takes ${over('find()', xaes, plain)} times as long as over plain columns, ${over(`find()${WITHOUT_ADD_ON}`, xaes, plain)} without the add-on, ${over('find()', transformer, plain)} through a hand-tuned transformer, ${over('find()', typeormEncrypted, plain)} with typeorm-encrypted: node:crypto makes a cipher object for each value. Columns that are not selected are not decrypted.`,
    `**Where the add-on cannot be had, and nobody requires AES, install \`sodium-native\` and choose \`suite: 'xchacha20-poly1305'\`**: the same \`find()\` takes ${over('find()', xchacha, plain)} times plain.`,
    `**One row at a time, the database decides.** A \`findOneBy\` by id takes ${over('findOneBy({ id })', xaes, plain)} times plain, one by blind index ${over('findOneBy({ email })', xaes, plain)}, a \`save()\` of a new entity ${over('save() of new entities one by one', xaes, plain)}; an HTTP service gets its requests answered in ${over('HTTP service', xaes, plain)} times the time.`,
    `**Saving what has not changed writes nothing**: it takes ${over('save() of untouched entities', xaes, plain)} times plain, where typeorm-encrypted takes ${over('save() of untouched entities', typeormEncrypted, plain)}, because it writes every row again.`,
    `**Rotation is a job for the afternoon, not the weekend**: \`reencrypt()\` takes ${over('rotation', reencrypt, serverSide)} times as long as one server-side \`UPDATE\` that decrypts nothing, and \`save()\` each takes ${over('rotation', saveEach, reencrypt)} times as long as \`reencrypt()\`.`,
    `**Any number of data keys is fine**: a start with 1,000 of them takes ${over('start-up', '1000 data keys', '1 data key')} times that with one, because a key is unwrapped when it is first needed, and all that a query needs at once.`,
  ]
    .filter((conclusion) => !conclusion.includes(UNMEASURED))
    .map((conclusion) => `- ${conclusion}`)
    .join('\n');
}
