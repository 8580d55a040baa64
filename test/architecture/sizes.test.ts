import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');

/** Folders of src with the number of their files. */
function folders(folder = 'src'): [string, number][] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const inner = entries.filter((entry) => entry.isDirectory());
  return [[folder, files.length], ...inner.flatMap(({ name }) => folders(join(folder, name)))];
}

// Lines of files and functions are the linter's business.
it('A folder of src holds at most twenty files', () => {
  expect(folders().filter(([, files]) => files > 20)).toEqual([]);
});
