import { CREDENTIALS, ROOT_TOKEN, VaultDouble } from '../support/vault-double';
import { describeServer } from './servers/availability';
import { OPENBAO, OpenBao } from './servers/openbao';

interface Question {
  readonly method?: string;
  readonly path: string;
  readonly body?: object;
  readonly token?: string;
  readonly namespace?: string;
}

const zeros = (version: string) => `vault:v${version}:${Buffer.alloc(40).toString('base64')}`;
const decrypting = (ciphertext: string, key = 'clinic'): Question => ({
  path: `transit/decrypt/${key}`,
  body: { ciphertext },
});

const QUESTIONS: readonly Question[] = [
  { method: 'GET', path: 'transit/keys/clinic' },
  { method: 'GET', path: 'transit/keys/clinik' },
  { method: 'GET', path: 'transitional/keys/clinic' },
  { method: 'GET', path: 'transit/keys/clinic', token: 'hvs.unknown' },
  { method: 'GET', path: 'transit/keys/clinic', namespace: 'nowhere' },
  { method: 'GET', path: 'auth/token/lookup-self' },
  { path: 'auth/token/renew-self', body: {} },
  { path: 'sys/capabilities-self', body: { paths: ['transit/encrypt/clinic'] } },
  { path: 'auth/approle/login', body: { role_id: 'nobody', secret_id: 'nothing' } },
  { path: `auth/userpass/login/${CREDENTIALS.username}`, body: { password: 'wrong' } },
  { path: 'auth/nowhere/login', body: {} },
  decrypting(zeros('1'), 'clinik'),
  ...['nonsense', 'vault:v1', 'vault:v1:AAAA', 'vault:v1:%%%'].map((text) => decrypting(text)),
  ...['1', '2', '3', '9', '0', 'x'].map((version) => decrypting(zeros(version))),
  decrypting(zeros('1'), 'derived'),
  decrypting(zeros('1'), 'put-aside'),
  { path: 'transit/encrypt/put-aside', body: { plaintext: 'AAAA' } },
];

/** What the provider can tell answers apart by. */
interface Heard {
  readonly status: number;
  readonly errors: unknown;
}

describeServer(OPENBAO, 'the double of Vault', (command) => {
  const double = new VaultDouble();
  let server: OpenBao;

  beforeAll(async () => {
    await double.http.start();
    const clinic = double.makeKey('clinic');
    double.rotate('clinic');
    clinic.minDecryptionVersion = 2;
    double.makeKey('derived', { derived: true });
    double.makeKey('put-aside', { softDeleted: true });

    server = await OpenBao.start(command);
    await server.ask('POST', 'sys/mounts/transit', { type: 'transit' });
    await server.ask('POST', 'transit/keys/clinic', {});
    await server.ask('POST', 'transit/keys/clinic/rotate');
    await server.ask('POST', 'transit/keys/clinic/config', { min_decryption_version: 2 });
    await server.ask('POST', 'transit/keys/derived', { derived: true });
    await server.ask('POST', 'transit/keys/put-aside', {});
    await server.ask('DELETE', 'transit/keys/put-aside/soft-delete');
    for (const type of ['approle', 'userpass'])
      await server.ask('POST', `sys/auth/${type}`, { type });
    const user = `auth/userpass/users/${CREDENTIALS.username}`;
    await server.ask('POST', user, { password: CREDENTIALS.password });
  });
  afterAll(async () => {
    await double.http.stop();
    await server.stop();
  });

  async function ask(address: string, question: Question, root: string): Promise<Heard> {
    const { method = 'POST', path, body, token = root, namespace } = question;
    const response = await fetch(`${address}/v1/${path}`, {
      method,
      headers: {
        ...(path.includes('/login') ? {} : { 'X-Vault-Token': token }),
        ...(namespace === undefined ? {} : { 'X-Vault-Namespace': namespace }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { errors } = (await response.json()) as { errors?: unknown };
    return { status: response.status, errors };
  }

  const both = async (question: Question): Promise<readonly [Heard, Heard]> => [
    await ask(double.address, question, ROOT_TOKEN),
    await ask(server.address, question, server.rootToken),
  ];

  it.each(QUESTIONS.map((question) => [JSON.stringify(question), question] as const))(
    'answers as the server does: %s',
    async (_, question) => {
      const [ours, theirs] = await both(question);
      expect(ours).toEqual(theirs);
    },
  );

  it('denies as the server does what a policy leaves out, and describes a key by the same names', async () => {
    await server.ask('PUT', 'sys/policies/acl/reads', {
      policy: 'path "transit/keys/clinic" { capabilities = ["read"] }',
    });
    const token = await server.token(['reads']);
    double.tokens.set(token, { expiresAt: Infinity, renewable: false, ttlSeconds: 0, renewals: 0 });
    Object.assign(double, { allowed: [], mayAskForRights: false });
    for (const question of [
      { path: 'transit/encrypt/clinic', body: { plaintext: 'AAAA' }, token },
      { path: 'sys/capabilities-self', body: { paths: ['transit/encrypt/clinic'] }, token },
    ]) {
      const [ours, theirs] = await both(question);
      expect(ours).toEqual(theirs);
    }
    const described = await Promise.all(
      [double.address, server.address].map(async (address) => {
        const headers = { 'X-Vault-Token': token };
        const response = await fetch(`${address}/v1/transit/keys/clinic`, { headers });
        return Object.entries(((await response.json()) as { data: object }).data);
      }),
    );
    const [ours = [], theirs = []] = described.map((entries) =>
      entries.map(([name, value]) => `${name}: ${typeof value}`),
    );
    expect(theirs).toEqual(expect.arrayContaining(ours));
  });

  it('is sealed as the server is', async () => {
    await server.seal();
    double.sealed = true;
    for (const path of ['transit/keys/clinic', 'sys/health']) {
      const [ours, theirs] = await both({ method: 'GET', path });
      expect(ours).toEqual(theirs);
    }
  });
});
