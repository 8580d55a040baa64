import { ValidationPipe } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { DataSource } from 'typeorm';
import { fieldEncryption } from 'typeorm-field-encryption';
import { AppModule } from '../../examples/nest-clinic/app.module';
import { Patient } from '../../examples/nest-clinic/patients/patient.entity';
import { PatientsService } from '../../examples/nest-clinic/patients/patients.service';
import { describeEachDatabase } from '../support/databases';
import { Cleanup } from '../support/protected-database';
import { SshSigner } from '../support/ssh-signer';

const PASSWORD = 'a password of a member of staff';
const ADA = { name: 'Ada', email: 'Ada@Example.org', ssn: '078-05-1120' };
const OFFICERS = [1, 2, 3].map((n) => new SshSigner(`officer${String(n)}@example.org`));
const BOB = { name: 'Bob', email: 'bob@example.org' };

describeEachDatabase('The Nest clinic', (kind) => {
  const cleanup = new Cleanup();
  let app: INestApplication<App>;
  let url: string;
  let token: string;

  beforeAll(async () => {
    const { dataSourceOptions } = await cleanup.create(kind);
    url = String('url' in dataSourceOptions ? dataSourceOptions.url : dataSourceOptions.database);
    process.env['APPROVERS'] = OFFICERS.map(({ id, line }) => `${id} ${line}`).join('\n');
    app = await start();
    token = await signUp('staff@example.org');
  });
  afterAll(async () => {
    delete process.env['APPROVERS'];
    await app.close();
    await cleanup.run();
  });

  async function start(): Promise<INestApplication<App>> {
    const config = new ConfigService({
      DATABASE_URL: url,
      KEY_PASSPHRASE: 'a passphrase for fictional patients only',
    });
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(ConfigService)
      .useValue(config)
      .compile();
    const started = module.createNestApplication<INestApplication<App>>({ logger: ['error'] });
    started.useGlobalPipes(new ValidationPipe({ transform: true, whitelist: true }));
    return started.init();
  }

  async function signUp(email: string): Promise<string> {
    const credentials = { email, password: PASSWORD };
    await request(app.getHttpServer()).post('/clinics').send(credentials).expect(201);
    const { body } = await request(app.getHttpServer()).post('/login').send(credentials);
    return body.token;
  }

  const as = (who: string) => ({
    get: (path: string) => request(app.getHttpServer()).get(path).auth(who, { type: 'bearer' }),
    post: (path: string) => request(app.getHttpServer()).post(path).auth(who, { type: 'bearer' }),
    patch: (path: string) => request(app.getHttpServer()).patch(path).auth(who, { type: 'bearer' }),
    delete: (path: string) =>
      request(app.getHttpServer()).delete(path).auth(who, { type: 'bearer' }),
  });

  /** Empties the clinic of the token, and fills it again. */
  async function admit(...patients: object[]): Promise<{ id: string }[]> {
    await app.get(DataSource).getRepository('Patient').createQueryBuilder().delete().execute();
    const responses = [];
    for (const patient of patients) {
      responses.push(await as(token).post('/patients').send(patient).expect(201));
    }
    return responses.map(({ body }) => body);
  }

  const ssnOf = async (patient: { id: string } | undefined): Promise<string> =>
    (
      await as(token)
        .get(`/patients/${String(patient?.id)}/ssn`)
        .expect(200)
    ).body.ssn;

  it('logs staff in by e-mail, in whatever case', async () => {
    const logIn = (email: string, password: string) =>
      request(app.getHttpServer()).post('/login').send({ email, password });
    await logIn('STAFF@example.ORG', PASSWORD).expect(200);
    await logIn('staff@example.org', `${PASSWORD}?`).expect(401);
    await logIn('nobody@example.org', PASSWORD).expect(401);
    await request(app.getHttpServer()).get('/patients').expect(401);
  });

  it('stores ciphertext', async () => {
    await admit(ADA);
    const rows = await app.get(DataSource).query('SELECT * FROM patient');
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toMatch(/ada@example|078-?05/i);
  });

  it('pages', async () => {
    await admit(...[1, 2, 3, 4, 5].map((n) => ({ ...BOB, name: `Patient ${String(n)}` })));
    const { body } = await as(token).get('/patients?page=2&take=2').expect(200);
    expect(body).toMatchObject({ total: 5, items: [{ name: 'Patient 3' }, { name: 'Patient 4' }] });
  });

  it('searches by e-mail', async () => {
    await admit(ADA, BOB);
    const names = async (query: string): Promise<string[]> =>
      (await as(token).get(`/patients?${query}`).expect(200)).body.items.map(
        ({ name }: { name: string }) => name,
      );
    expect(await names('email=ADA@example.org')).toEqual(['Ada']);
    expect(await names('email=carol@example.org')).toEqual([]);
  });

  it('updates', async () => {
    const [ada] = await admit(ADA);
    await as(token).patch(`/patients/${ada!.id}`).send({ email: 'ada@new.example' }).expect(200);
    const found = await as(token).get('/patients?email=ada@new.example');
    expect(found.body.items).toMatchObject([{ id: ada!.id, name: 'Ada', ssn: '[sealed]' }]);
    expect(await ssnOf(ada)).toBe(ADA.ssn);
    expect((await as(token).get('/patients?email=ada@example.org')).body.total).toBe(0);
  });

  it('shows a number to who asks for it, and notes who has seen it', async () => {
    const [ada] = await admit(ADA);
    expect(JSON.stringify((await as(token).get('/patients')).body)).not.toContain(ADA.ssn);
    expect(await ssnOf(ada)).toBe(ADA.ssn);
    const { accessLog } = fieldEncryption(app.get(DataSource));
    await accessLog.flush();
    const { ok, entries } = await accessLog.list({ column: 'Patient.ssn' });
    const [{ id }] = await app.get(DataSource).query('SELECT id FROM staff');
    expect(ok).toBe(true);
    expect(entries.filter(({ operation }) => operation === 'reveal').at(-1)).toMatchObject({
      actor: id,
      primaryKey: [ada?.id],
    });
    const other = await signUp('staff@fourth.example');
    await as(other)
      .get(`/patients/${String(ada?.id)}/ssn`)
      .expect(404);
  });

  it('deletes softly', async () => {
    const [ada] = await admit(ADA);
    await as(token).delete(`/patients/${ada!.id}`).expect(204);
    await as(token).delete(`/patients/${ada!.id}`).expect(404);
    expect((await as(token).get('/patients?email=ada@example.org')).body.total).toBe(0);
    const patients = app.get(DataSource).getRepository('Patient');
    expect(await patients.find({ withDeleted: true })).toMatchObject([{ email: ADA.email }]);
  });

  it('keeps tenants apart', async () => {
    const [ada] = await admit(ADA);
    const other = await signUp('staff@other.example');
    expect((await as(other).get('/patients?email=ada@example.org')).body.total).toBe(0);
    await as(other).patch(`/patients/${ada!.id}`).send({ name: 'Eve' }).expect(404);
    await as(other).delete(`/patients/${ada!.id}`).expect(404);
  });

  it('has keys for each tenant, and finds no row of another even by a query that forgets it', async () => {
    const [ada] = await admit(ADA);
    const other = await signUp('staff@third.example');
    const eve = await as(other).post('/patients').send(BOB).expect(201);
    const prefixes = await app
      .get(DataSource)
      .query('SELECT substr(email, 1, 12) AS k FROM patient');
    expect(new Set(prefixes.map(({ k }: { k: string }) => k)).size).toBe(2);
    const forgetful = jest.spyOn(app.get(PatientsService), 'list').mockImplementation(async () => {
      const id = eve.body.id;
      const items = [await app.get(DataSource).getRepository(Patient).findOneByOrFail({ id })];
      return { items, total: 1 };
    });
    await as(other).get('/patients').expect(200);
    const { body } = await as(token).get('/patients').expect(404);
    expect(JSON.stringify(body)).not.toMatch(/patient|tenant|email/i);
    forgetful.mockRestore();
    expect((await as(token).get('/patients')).body.items).toMatchObject([{ id: ada!.id }]);
  });

  it('closes a clinic once another officer has agreed', async () => {
    const [asks, agrees] = OFFICERS as [SshSigner, SshSigner];
    await fieldEncryption(app.get(DataSource)).approvals.setPolicy();
    const officer = as(await signUp(asks.id));
    const { body: patient } = await officer.post('/patients').send(ADA).expect(201);
    const refused = await officer.post('/closure').expect(403);
    const { body: requests } = await officer.get('/approvals').expect(200);
    expect(refused.body.request).toBe(requests[0].id);
    expect(JSON.stringify(refused.body)).not.toMatch(/shred|erase/i);
    const signed = (by: SshSigner) => ({ signature: by.sign(requests[0].document) });
    const path = `/approvals/${String(requests[0].id)}`;
    await officer.post(path).send(signed(asks)).expect(200);
    await officer.post('/closure').expect(403);
    await officer.get(`/patients/${String(patient.id)}/ssn`).expect(200);
    await officer.post(path).send(signed(agrees)).expect(200);
    const closed = await officer.post('/closure').expect(201);
    expect(closed.body.state).toBe('erased');
    await app.get(DataSource).getRepository('Patient').delete({ id: patient.id });
  });

  it('responds with 400 to what ciphertext cannot do for a client, and names no column', async () => {
    await admit(ADA);
    const sorted = await as(token).get('/patients?sort=email').expect(400);
    expect(JSON.stringify(sorted.body)).not.toMatch(/patient|email/i);
    const stored = await as(token)
      .post('/patients')
      .send({ ...ADA, ssn: '\ud800' })
      .expect(400);
    expect(JSON.stringify(stored.body)).not.toMatch(/patient|ssn/i);
  });

  it('tells whether it is ready, and for how long its keys last', async () => {
    await request(app.getHttpServer()).get('/health/live').expect(200);
    const ready = await request(app.getHttpServer()).get('/health/ready').expect(200);
    expect(ready.body.details.encryption).toEqual({ status: 'up', encryption: 'ok' });
    const metrics = await request(app.getHttpServer()).get('/metrics').expect(200);
    expect(metrics.text).toMatch(/^clinic_key_usable\{key="branch",purpose="data",.*\} \d+/m);
    expect(metrics.text).toMatch(
      /^field_encryption_values_total\{operation="decrypt",entity="Patient",property="email",.*\} \d+/m,
    );
  });

  it('reads what it wrote before it was started again', async () => {
    await admit(ADA);
    await app.close();
    app = await start();
    const credentials = { email: 'staff@example.org', password: PASSWORD };
    token = (await request(app.getHttpServer()).post('/login').send(credentials)).body.token;
    const { body } = await as(token).get('/patients?email=ada@example.org').expect(200);
    expect(body.items).toMatchObject([{ email: ADA.email, ssn: '[sealed]' }]);
    expect(await ssnOf(body.items[0])).toBe(ADA.ssn);
  });
});
