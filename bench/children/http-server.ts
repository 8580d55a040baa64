import 'reflect-metadata';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { Repository } from 'typeorm';

import { answer } from '../child';
import type { DatabaseKind } from '../databases';
import { lookingUp } from '../people/contenders';
import type { Person } from '../people/person';

export interface ServerQuestion {
  readonly database: DatabaseKind;
  readonly rows: number;
  readonly contender: string;
}

/** A typical service: a controller over a repository. */
answer(async ({ database, rows, contender: name }: ServerQuestion): Promise<number> => {
  const [contender] = await lookingUp(database, rows, [name]);
  if (contender === undefined) throw new Error(`no contender ${name}`);
  const controller = new PeopleController(contender.people);
  const server = createServer((request, response) => {
    void respond(controller, request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
});

class PeopleController {
  readonly #people: Repository<Person>;

  constructor(people: Repository<Person>) {
    this.#people = people;
  }

  async handle(request: IncomingMessage): Promise<unknown> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (request.method === 'POST') return this.#people.save((await json(request)) as Person);
    const id = pathname.split('/')[2];
    if (id !== undefined) return this.#people.findOneBy({ id: Number(id) });
    const email = searchParams.get('email');
    if (email !== null) return this.#people.findOneBy({ email });
    return this.#people.find({ take: 50, skip: Number(searchParams.get('skip')) });
  }
}

async function respond(
  controller: PeopleController,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const body = await controller.handle(request);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  } catch {
    response.statusCode = 500;
    response.end();
  }
}
