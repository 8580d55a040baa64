import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';

import type { Patient, Visit } from './patient';

/** A line of patients.csv. */
interface Line {
  name: string;
  email: string;
  ssn: string;
  born_on: string;
  phone: string;
  blood_group: string;
  notes: string;
}

/** Reads the patients of patients.csv, to be saved through a repository. */
export function readPatients(): Omit<Patient, 'id'>[] {
  const lines = parse<Line>(readFileSync(join(__dirname, 'patients.csv')), { columns: true });
  return lines.map((line) => ({
    name: line.name,
    email: line.email,
    ssn: line.ssn === '' ? null : line.ssn,
    bornOn: new Date(line.born_on),
    phone: line.phone,
    visits: [visitOf(line.notes)],
    bloodGroup: line.blood_group,
  }));
}

function visitOf(notes: string): Visit {
  const [day = '', note = ''] = notes.split(': ');
  return { day, note };
}
