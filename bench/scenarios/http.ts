import { join } from 'node:path';

import { Child } from '../child';
import type { ServerQuestion } from '../children/http-server';
import { settingName } from '../databases';
import { measure, percentiles } from '../measure';
import type { Variant } from '../measure';
import { load } from '../peers';
import { emailOf, persons } from '../people/person';
import type { Scenario, Setting } from '../scenario';
import { VARIANTS } from '../variants';

const CONNECTIONS = 20;
/** Milliseconds between autocannon's checks whether it is done; a second by default. */
const LOOK_MS = 10;

/** The part of autocannon in use. */
type Autocannon = (
  options: {
    url: string;
    connections: number;
    amount: number;
    sampleInt: number;
    requests: object[];
  },
  done: (error: Error | null, result: { non2xx: number; errors: number }) => void,
) => NodeJS.EventEmitter;

/** Requests a second of a service over a repository, with and without encryption. */
export const http: Scenario = {
  majors: [1],
  databases: ['PostgreSQL'],
  run: async (setting) => {
    const autocannon = load('autocannon') as Autocannon | undefined;
    if (autocannon === undefined) return [];
    const { database, sizes } = setting;
    const servers: Child<number>[] = [];
    const variants: Variant[] = [];
    for (const name of [VARIANTS.plain, VARIANTS.xaes, VARIANTS.xchacha]) {
      const server = startServer(name, setting);
      servers.push(server);
      variants.push(underLoad(autocannon, name, await server.answer, setting));
    }
    const measurements = await measure(variants, {
      items: sizes.requests,
      rounds: sizes.longRounds,
    });
    for (const server of servers) await server.stop();
    return [
      {
        scenario: 'HTTP service',
        setting: settingName(database),
        unit: `one of ${String(sizes.requests)} requests over ${String(CONNECTIONS)} connections`,
        rate: 'requests',
        measurements,
      },
    ];
  },
};

function startServer(contender: string, { database, sizes: { rows } }: Setting): Child<number> {
  const question: ServerQuestion = { database, rows, contender };
  return new Child<number>(join(__dirname, '..', 'children', 'http-server.js'), question);
}

function underLoad(
  autocannon: Autocannon,
  name: string,
  port: number,
  { sizes: { requests: amount, rows } }: Setting,
): Variant {
  const times: number[] = [];
  const load = {
    url: `http://127.0.0.1:${String(port)}`,
    connections: Math.min(CONNECTIONS, amount),
    amount,
    sampleInt: LOOK_MS,
    requests: requestsOver(rows),
  };
  return {
    name,
    run: () =>
      new Promise<void>((resolve, reject) => {
        autocannon(load, (error, result) => {
          const refused = result.non2xx + result.errors;
          if (error !== null) reject(error);
          else if (refused > 0) reject(new Error(`${String(refused)} requests failed`));
          else resolve();
        }).on('response', (_client, _status, _bytes, elapsedMs: number) => times.push(elapsedMs));
      }),
    figures: () => percentiles(times),
  };
}

/** Makes six reads of one person, half of them by e-mail address, two pages of 50 and two new people. */
function requestsOver(rows: number): object[] {
  const one = (share: number): number => Math.floor(share * (rows - 1));
  const post = {
    method: 'POST',
    path: '/people',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(persons(1)[0]),
  };
  const read = (share: number): object[] => [
    { method: 'GET', path: `/people/${String(one(share) + 1)}` },
    { method: 'GET', path: `/people?email=${encodeURIComponent(emailOf(one(share)))}` },
  ];
  const page = (share: number): object => ({
    method: 'GET',
    path: `/people?skip=${String(one(share))}`,
  });
  return [...read(0.1), page(0.2), post, ...read(0.5), page(0.4), post, ...read(0.9)];
}
