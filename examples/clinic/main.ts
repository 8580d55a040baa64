import { existsSync, readFileSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { QueryFailedError } from 'typeorm';
import type { Repository } from 'typeorm';
import { fieldEncryption } from 'typeorm-field-encryption';

import { databaseFile, dataSource } from './data-source';
import { grouped, progressBar, say, show, showTimings, step, timed, title } from './narrator';
import { Patient } from './patient';
import { readPatients } from './patients-csv';

type NewPatient = Omit<Patient, 'id'>;

async function main(): Promise<void> {
  title('A clinic encrypts its patients');
  const records = readPatients();
  rmSync(databaseFile, { force: true });
  await timed('open the database, stretch the passphrase', async () => {
    await dataSource.initialize();
    // Fails here, not at the first patient, if the passphrase is wrong.
    await fieldEncryption(dataSource).ready();
  });
  const patients = dataSource.getRepository(Patient);

  await importPatients(patients, records);
  await showStoredRows();
  await showRowsOfRepository(patients);
  await lookUp(patients);
  await tryDuplicate(patients);
  searchDatabaseFile(records);
  await rotate();
  await reencrypt();
  await verify(patients, readPatients());

  step('What it took');
  showTimings();
  console.log();
  say(`The database is ${relative(process.cwd(), databaseFile)}: open it with any SQLite tool.`);
  await dataSource.destroy();
}

async function importPatients(patients: Repository<Patient>, records: NewPatient[]): Promise<void> {
  step(`Import ${grouped(records.length)} patients from patients.csv: repository.save()`);
  await timed('import', () => patients.save(records, { chunk: 400 }), records.length);
  // save() gave the caller's objects their ids, and left everything else as it was.
  say(`${grouped(await patients.count())} rows. The first: ${String(records[0]?.email)}`);
}

async function showStoredRows(): Promise<void> {
  step('What the database holds: SELECT * FROM patient LIMIT 3');
  const columns = 'id, name, email, email_bidx, ssn, bornOn, bloodGroup';
  show(await dataSource.query(`SELECT ${columns} FROM patient ORDER BY id LIMIT 3`), 19);
  say('Each value begins with the format and the id of its data key; no two are equal.');
  say('email_bidx is a keyed hash: the blind index by which a row is found.');
}

async function showRowsOfRepository(patients: Repository<Patient>): Promise<void> {
  step('The same rows through the repository: patients.find({ take: 3 })');
  const rows = await patients.find({ order: { id: 'ASC' }, take: 3 });
  show(
    rows.map(({ id, name, email, ssn, bornOn, bloodGroup }) => ({
      id,
      name,
      email,
      ssn,
      bornOn,
      bloodGroup,
    })),
    30,
  );
}

async function lookUp(patients: Repository<Patient>): Promise<void> {
  const { email, ssn } = await patients.findOneByOrFail({ id: 42 });
  const shouted = email.toUpperCase();
  step(`Look a patient up by e-mail: patients.findOneBy({ email: '${shouted}' })`);
  const found = await timed('look-up by e-mail', () => patients.findOneBy({ email: shouted }));
  say(`Found ${String(found?.name)}, ${String(found?.email)}.`);
  const [sql, parameters] = patients
    .createQueryBuilder('p')
    .select('p.id')
    .where({ email: shouted })
    .getQueryAndParameters();
  say(`The database was asked: ${sql}`);
  say(`and was given: ${JSON.stringify(parameters)}`);
  const digits = String(ssn).replaceAll('-', ' ');
  const bySsn = await timed('look-up by SSN', () => patients.findOneBy({ ssn: digits }));
  say(`By SSN, written '${digits}': ${String(bySsn?.name)}.`);
}

async function tryDuplicate(patients: Repository<Patient>): Promise<void> {
  step('Register an e-mail address again, in lower case');
  const [first] = readPatients();
  if (first === undefined) throw new Error('patients.csv is empty.');
  try {
    await patients.insert({ ...first, email: first.email.toLowerCase() });
  } catch (error) {
    if (!(error instanceof QueryFailedError)) throw error;
    say(`Refused by the database: ${error.message}`);
    return;
  }
  throw new Error('The duplicate was not refused.');
}

function searchDatabaseFile(records: readonly NewPatient[]): void {
  step('Search the database file for what was imported');
  const file = readDatabaseFile();
  const secrets = records.flatMap(({ name, email, ssn, phone }) => [
    name,
    email,
    phone,
    ...(ssn === null ? [] : [ssn]),
  ]);
  const found = secrets.filter((secret) => file.includes(secret));
  say(
    `${grouped(secrets.length)} names, addresses and numbers looked for in ${grouped(file.length)} bytes: ${String(found.length)} found.`,
  );
  if (found.length > 0) throw new Error('The database file holds plaintext.');
}

/** Reads the database file with its write-ahead log. */
function readDatabaseFile(): Buffer {
  const files = [databaseFile, `${databaseFile}-wal`, `${databaseFile}-journal`];
  return Buffer.concat(files.filter((file) => existsSync(file)).map((file) => readFileSync(file)));
}

async function rotate(): Promise<void> {
  step('Rotate the data key: fieldEncryption(dataSource).keys.rotate()');
  const { keys } = fieldEncryption(dataSource);
  await timed('rotate the data key', () => keys.rotate());
  show(
    (await keys.list()).map(({ name, version, state, suite, id }) => ({
      name,
      version,
      state,
      suite,
      id,
    })),
  );
  say('New values go under version 2 from now on; version 1 still reads the old ones.');
}

async function reencrypt(): Promise<void> {
  step('Move every row to the new key: fieldEncryption(dataSource).reencrypt()');
  const bar = progressBar();
  const report = await timed('re-encrypt', () =>
    fieldEncryption(dataSource).reencrypt({
      batchSize: 100,
      onProgress: ({ scanned, total }) => {
        bar.update(scanned, total);
      },
    }),
  );
  bar.stop();
  const { changed, failed, conflicts } = report;
  say(
    `${grouped(changed)} rows changed, ${String(failed)} failed, ${String(conflicts)} in conflict.`,
  );
}

async function verify(
  patients: Repository<Patient>,
  records: readonly NewPatient[],
): Promise<void> {
  step('Verify: every row still says what the file says, and none is under the old key');
  const rows = await timed(
    'read and decrypt everything',
    () => patients.find({ order: { id: 'ASC' } }),
    records.length,
  );
  const equal = rows.filter(
    (row, i) => JSON.stringify(facts(row)) === JSON.stringify(facts(records[i])),
  );
  say(`${grouped(equal.length)} of ${grouped(records.length)} rows equal the file.`);
  const columns = await fieldEncryption(dataSource).status();
  show(
    columns.map(({ property, rows: count, nullRows, cleartextRows, keys }) => ({
      property,
      rows: count,
      null: nullRows,
      cleartext: cleartextRows,
      'by key version': keys
        .map(({ version, rows: held }) => `v${String(version)}: ${grouped(held)}`)
        .join(', '),
    })),
  );
  const old = columns.flatMap(({ keys }) => keys).filter(({ state }) => state !== 'active');
  if (equal.length !== records.length || old.length > 0) throw new Error('Verification failed.');
}

function facts(patient: NewPatient | undefined): unknown[] {
  if (patient === undefined) return [];
  const { name, email, ssn, bornOn, phone, visits, bloodGroup } = patient;
  return [name, email, ssn, bornOn, phone, visits, bloodGroup];
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
