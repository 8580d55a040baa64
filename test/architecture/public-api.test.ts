import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { publicApi } from '../support/public-api';

const REPORT = join(__dirname, 'public-api.txt');

// Whoever changes it on purpose runs `npm run api:report`, and has the change reviewed.
it('The public API is that of the report', () => {
  const api = publicApi();
  if (process.env['UPDATE_API_REPORT'] !== undefined) writeFileSync(REPORT, api);
  expect(api).toBe(readFileSync(REPORT, 'utf8'));
}, 120_000);
