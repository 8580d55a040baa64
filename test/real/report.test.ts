import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';

import { BlindIndex, Encrypted, fieldEncryption, policyFor, runAs } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { moveDatabaseClock } from '../support/database-clock';
import { betterSqlite3 } from '../support/database-kinds';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import { pngColours } from '../support/png-colours';
import { HOSTILE_NAME } from '../support/sample-report';
import { describeServer } from './servers/availability';
import { Chromium, CHROMIUM } from './servers/chromium';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted({ check: false }) @BlindIndex() email!: string;
  @Encrypted({ nullable: true }) phone!: string | null;
}

const DAY_MS = 86_400_000;
/** The narrowest segment, 2 of 720 units wide, has more in a window of 1000. */
const LEAST_PIXELS = 10;
const POLICY = /<meta http-equiv="Content-Security-Policy" .+?>\n/;
const CHARTS = /<svg .+?<\/svg>/gs;

/** Asks for something in each way that a document can. */
const ASKING = `<!doctype html>
<html><head><style>@import url(https://style.example/a.css); p { background: url(b.png) }</style></head>
<body><p>a</p><img src="https://image.example/"><iframe src="/frame"></iframe>
<script>document.querySelector('p').textContent = 'changed'; fetch('https://fetch.example/')</script></body></html>`;

describeServer(CHROMIUM, 'the report as HTML', (command) => {
  const kek = temporaryKms();
  const browser = new Chromium(command);
  let html: string;

  beforeAll(async () => {
    html = await writtenReport({ kms: kek.kms, application: HOSTILE_NAME, accessLog: {} });
  });
  afterAll(() => {
    browser.dispose();
    kek.dispose();
  });

  it.each([
    ['as it is', true],
    ['without its policy', false],
  ])('asks for nothing and is changed by no script, %s', async (_title, hasPolicy) => {
    const document = hasPolicy ? html : html.replace(POLICY, '');
    expect(POLICY.test(document)).toBe(hasPolicy);
    const { dom, requests } = await browser.open(document);
    expect(requests).toEqual(['/']);
    expect(dom).not.toMatch(/<script/i);
    expect(normalized(dom)).toBe(normalized(document));
  });

  it('would be seen to ask, and to be changed', async () => {
    const { dom, requests } = await browser.open(ASKING);
    expect([...requests].sort()).toEqual(
      [
        ...['/', '/b.png', '/frame', 'https://fetch.example/', 'https://image.example/'],
        'https://style.example/a.css',
      ].sort(),
    );
    expect(normalized(dom)).not.toBe(normalized(ASKING));
  });

  it('prints on several pages', async () => {
    const pdf = (await browser.print(html)).toString('latin1');
    expect(pdf).toMatch(/^%PDF-/);
    expect(pdf.match(/\/Type \/Page\b/g)?.length).toBeGreaterThan(1);
  });

  it('draws each part of its charts in its colour', async () => {
    const style = /<style>.+?<\/style>/s.exec(html)?.[0] ?? '';
    const fills = new Map(
      [...style.matchAll(/([^{}]+)\{ fill: (#\w{6}); \}/g)].flatMap(([, selectors, colour]) =>
        [...selectors!.matchAll(/\.(\w+)/g)].map(([, kind]) => [kind, colour!] as const),
      ),
    );
    const charts = html.match(CHARTS) ?? [];
    expect(charts).toHaveLength(5);
    const drawn = new Set<string>();
    for (const chart of charts) {
      const colours = pngColours(await browser.picture(style + chart, 1000, 300));
      // The empty part of a bar may be covered.
      const kinds = chart.matchAll(/<rect [^>]*class="(?!empty)(\w+)"/g);
      for (const [, kind] of kinds) {
        drawn.add(kind!);
        const pixels = colours.get(fills.get(kind) ?? '') ?? 0;
        expect([kind, pixels > LEAST_PIXELS]).toEqual([kind, true]);
      }
    }
    const planted = ['active', 'older', 'cleartext', 'null', 'due', 'compromised', 'high'];
    expect([...drawn]).toEqual(expect.arrayContaining(planted));
  });
});

/** Makes a database with a little of everything that charts show, and returns its report. */
async function writtenReport(options: FieldEncryptionOptions): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-report-'));
  const policy = { ...policyFor('high'), owner: HOSTILE_NAME };
  const encryption = { ...options, keyPolicies: { '*': policy } };
  let days = 0;
  const { dataSource, dispose } = await openEncrypted(
    betterSqlite3,
    { entities: [Patient] },
    { ...encryption, now: () => new Date(Date.now() + days * DAY_MS) },
  );
  moveDatabaseClock(dataSource, () => days * DAY_MS);
  try {
    const { keys, accessLog } = fieldEncryption(dataSource);
    await insert(dataSource, 0, 30);
    days = 30;
    const { id } = await keys.rotate();
    await insert(dataSource, 30, 80);
    days = 90;
    await keys.revoke(id);
    await insert(dataSource, 110, 20);
    days = 110;
    await runAs({ id: HOSTILE_NAME }, () => dataSource.manager.find(Patient));
    await accessLog.flush();
    await dataSource.query(
      `UPDATE patient SET email = 'readable', email_bidx = NULL WHERE id > 120`,
    );
    await fieldEncryption(dataSource).writeEvidence(folder, { formats: ['html'] });
    return readFileSync(join(folder, 'report.html'), 'utf8');
  } finally {
    await dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function insert(dataSource: DataSource, first: number, count: number): Promise<void> {
  const patients = Array.from({ length: count }, (_, i) => ({
    id: first + i,
    ...{ ward: 'A', email: `${String(first + i)}@example.org`, phone: i % 3 === 0 ? null : '555' },
  }));
  await dataSource.getRepository(Patient).insert(patients);
}

/** Returns a document as browsers write it out, in which quotes and white space are written in one way. */
function normalized(document: string): string {
  return document
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replace(/<(rect)([^>]*)\/>/g, '<$1$2></$1>')
    .replace(/^<!doctype html>/i, '')
    .replace(/\s+(?=<\/?(?:html|head|body)>)|(?<=<\/?(?:html|head|body)>)\s+/g, '')
    .trim();
}
