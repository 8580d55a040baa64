import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BUILT_IN_RULES } from '../../../src/evidence/rules/rules';

it('Every built-in rule is documented as it is', () => {
  const page = readFileSync(join(__dirname, '../../../docs/evidence.md'), 'utf8');
  const rows = page.split('\n').filter((line) => /^\| `[\w-]+` \| (high|medium|low) \|/.test(line));
  expect(rows).toEqual(
    BUILT_IN_RULES.map(({ id, severity, title, controls, shows, doesNotShow }) =>
      [`| \`${id}\``, severity, title, controls.join(', '), shows, `${doesNotShow} |`].join(' | '),
    ),
  );
});
