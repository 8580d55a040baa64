import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Faker, en } from '@faker-js/faker';

/** Patients in the file. */
const COUNT = 2400;
/** The same seed and version of faker give the same file. */
const SEED = 20261121;
/** Birthdays and visits lie before this day, so that the file does not depend on the clock. */
const TODAY = new Date('2026-01-01T00:00:00Z');

const HEADER = ['name', 'email', 'ssn', 'born_on', 'phone', 'blood_group', 'notes'];
const REASONS = ['check-up', 'vaccination', 'back pain', 'migraine', 'allergy', 'hypertension'];
const FINDINGS = [
  'no findings',
  'blood sample taken',
  'referred to a specialist',
  'to be seen again',
];
const BLOOD_GROUPS = ['A+', 'A-', 'B+', 'B-', 'AB+', 'AB-', '0+', '0-'];

/** Makes the fictional records of patients.csv: run it with `npx tsx examples/clinic/generate-patients.ts`. */
function generate(): string {
  const faker = new Faker({ locale: en, seed: SEED });
  const rows = Array.from({ length: COUNT }, (_, i) => patient(faker, i + 1));
  return [HEADER, ...rows].map(csvLine).join('');
}

function patient(faker: Faker, number: number): string[] {
  const firstName = faker.person.firstName();
  const lastName = faker.person.lastName();
  return [
    `${firstName} ${lastName}`,
    emailOf(faker, firstName, lastName, number),
    // Every eighth patient has none.
    number % 8 === 0 ? '' : ssnOf(faker),
    isoDay(faker.date.birthdate({ mode: 'age', min: 1, max: 95, refDate: TODAY })),
    // Numbers 555-01xx are reserved for fiction.
    faker.helpers.replaceSymbols('(###) 555-01##'),
    faker.helpers.arrayElement(BLOOD_GROUPS),
    visitNote(faker),
  ];
}

/** Makes an address under example.org, which is reserved, with capitals as people type them. */
function emailOf(faker: Faker, firstName: string, lastName: string, number: number): string {
  const local = `${firstName}.${lastName}${String(number)}`.replace(/[^\w.]/g, '');
  return `${faker.datatype.boolean() ? local : local.toLowerCase()}@example.org`;
}

/** Makes a number that begins with 9, which none that was issued does. */
function ssnOf(faker: Faker): string {
  return faker.helpers.replaceSymbols('9##-##-####');
}

function visitNote(faker: Faker): string {
  const day = isoDay(faker.date.past({ years: 3, refDate: TODAY }));
  const reason = faker.helpers.arrayElement(REASONS);
  return `${day}: ${reason}, ${faker.helpers.arrayElement(FINDINGS)}`;
}

function isoDay(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function csvLine(cells: readonly string[]): string {
  return `${cells.map((cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')}\n`;
}

writeFileSync(join(__dirname, 'patients.csv'), generate());
