import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ConfigurationError } from '../../../../src/errors';
import type { KmsProvider } from '../../../../src/kms/kms-provider';
import { vaultKms } from '../../../../src/kms/vault';
import { proxyFor } from '../../../../src/kms/vault/proxy';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';
import { selfSigned } from '../../../support/self-signed';
import { ROOT_TOKEN, VaultDouble } from '../../../support/vault-double';

const NAMES = [
  ...['HTTPS_PROXY', 'NO_PROXY', 'VAULT_CACERT', 'VAULT_CLIENT_CERT', 'VAULT_CLIENT_KEY'],
  ...['https_proxy', 'no_proxy'],
];

describe('vaultKms', () => {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-vault-'));
  const serverPair = selfSigned('vault.test');
  const clientPair = selfSigned('clinic.test');
  const environment = new Map(NAMES.map((name) => [name, process.env[name]]));
  /** Only connects to the server behind it, whatever the name: the network knows no vault.test. */
  let proxy: Server;
  let requests: { target: string; authorization: string | undefined }[];
  let refuses: number | undefined;
  const sockets = new Set<Socket>();
  let vault: VaultDouble;
  let kms: KmsProvider | undefined;

  function file(name: string, content: string): string {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  beforeEach(async () => {
    for (const name of NAMES) Reflect.deleteProperty(process.env, name);
    vault = new VaultDouble({
      ...serverPair,
      requestCert: true,
      rejectUnauthorized: true,
      ca: clientPair.cert,
    });
    vault.makeKey('clinic');
    await vault.http.start();
    requests = [];
    refuses = undefined;
    proxy = createServer();
    proxy.on('connect', ({ url, headers }, socket: Socket) => {
      requests.push({ target: String(url), authorization: headers['proxy-authorization'] });
      sockets.add(socket);
      if (refuses !== undefined) {
        socket.end(`HTTP/1.1 ${String(refuses)} no\r\n\r\n`);
        return;
      }
      const upstream = connect(vault.http.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      sockets.add(upstream);
      upstream.on('error', () => socket.destroy());
      socket.on('error', () => upstream.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    Object.assign(process.env, {
      HTTPS_PROXY: `http://clinic:canary-proxy@127.0.0.1:${String((proxy.address() as AddressInfo).port)}`,
      VAULT_CACERT: file('ca.pem', serverPair.cert),
      VAULT_CLIENT_CERT: file('client.pem', clientPair.cert),
      VAULT_CLIENT_KEY: file('client.key', clientPair.key),
    });
  });

  afterEach(async () => {
    await kms?.close?.();
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await new Promise((resolve) => proxy.close(resolve));
    await vault.http.stop();
    for (const [name, value] of environment) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  });

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  function open(): KmsProvider {
    kms = vaultKms({
      ...{ address: 'https://vault.test:8200', token: ROOT_TOKEN, key: 'clinic' },
      ...{ timeoutMs: 2000, totalTimeoutMs: 3000 },
    });
    return kms;
  }

  it('goes through the proxy of the environment, with a certificate of its own, and keeps the connection', async () => {
    const provider = open();
    const wrapped = await provider.wrapKey(KEY, BINDING);
    expect(Buffer.from(await provider.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(requests).toEqual([
      {
        target: 'vault.test:8200',
        authorization: `Basic ${Buffer.from('clinic:canary-proxy').toString('base64')}`,
      },
    ]);
  });

  it('uses a client certificate that was renewed, for the next connection', async () => {
    const provider = open();
    file('client.pem', selfSigned('stranger.test').cert);
    expect(await rejection(provider.wrapKey(KEY, BINDING))).toBeDefined();
    file('client.pem', clientPair.cert);
    await expect(provider.wrapKey(KEY, BINDING)).resolves.toBeDefined();
  });

  it('is refused by a server that wants a certificate without one', async () => {
    Reflect.deleteProperty(process.env, 'VAULT_CLIENT_CERT');
    Reflect.deleteProperty(process.env, 'VAULT_CLIENT_KEY');
    expect(await rejection(open().wrapKey(KEY, BINDING))).toBeInstanceOf(Error);
    expect(vault.http.calls).toEqual([]);
  });

  it('says that the proxy refuses, without its password', async () => {
    refuses = 407;
    const error = await rejection(open().wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('status 407');
    expect(shown(error)).not.toContain('canary');
  });

  it('names the variable whose file is missing', async () => {
    process.env['VAULT_CACERT'] = join(folder, 'missing.pem');
    const error = await rejection(open().wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('VAULT_CACERT');
  });

  it('wants certificate and key together', () => {
    Reflect.deleteProperty(process.env, 'VAULT_CLIENT_KEY');
    expect(() => open()).toThrow(/clientCert and clientKey go together/);
  });
});

describe('The proxy of the environment', () => {
  const HTTPS_PROXY = 'proxy.bank.example:3128';

  it.each([
    ['https://vault.bank.example:8200', '', true],
    ['http://vault.bank.example:8200', '', false],
    ['https://localhost:8200', '', false],
    ['https://127.9.0.1:8200', '', false],
    ['https://[::1]:8200', '', false],
    ['https://vault.bank.example:8200', '*', false],
    ['https://vault.bank.example:8200', 'other.example, bank.example', false],
    ['https://vault.bank.example:8200', '.bank.example', false],
    ['https://bank.example', '.bank.example', true],
    ['https://vault.bank.example:8200', 'ank.example', true],
    ['https://vault.bank.example:8200', 'vault.bank.example:8200', false],
    ['https://vault.bank.example:8200', 'vault.bank.example:443', true],
    ['https://10.1.2.3:8200', '10.0.0.0/8', false],
    ['https://11.1.2.3:8200', '10.0.0.0/8,fd00::/8,nonsense/99', true],
    ['https://[fd00::7]:8200', 'fd00::/8', false],
    ['https://10.1.2.3:8200', '10.1.2.3', false],
  ])('for %s with NO_PROXY=%j is used: %p', (server, NO_PROXY, isUsed) => {
    const proxy = proxyFor(new URL(server), { HTTPS_PROXY, NO_PROXY });
    expect(proxy?.href).toBe(isUsed ? 'http://proxy.bank.example:3128/' : undefined);
  });
});

describe('Logins that Vault refuses', () => {
  it('are not repeated for every write, and others are tried at once', async () => {
    const vault = new VaultDouble();
    vault.makeKey('clinic');
    await vault.http.start();
    let secretId = 'canary-wrong';
    const kms = vaultKms({
      ...{ address: vault.address, key: 'clinic' },
      auth: { method: 'approle', roleId: 'clinic-role', secretId: () => secretId },
    });
    try {
      for (let write = 0; write < 20; write += 1) {
        expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
      }
      expect(vault.http.callsTo('/login')).toHaveLength(1);
      secretId = 'canary-secret-id';
      await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
      expect(vault.http.callsTo('/login')).toHaveLength(2);
    } finally {
      await kms.close?.();
      await vault.http.stop();
    }
  });

  it('for a token that the policy denies do not come once a call', async () => {
    const vault = new VaultDouble();
    vault.makeKey('clinic');
    vault.mayRead = false;
    await vault.http.start();
    const kms = vaultKms({
      ...{ address: vault.address, key: 'clinic' },
      auth: { method: 'approle', roleId: 'clinic-role', secretId: 'canary-secret-id' },
    });
    try {
      for (let write = 0; write < 5; write += 1) await rejection(kms.wrapKey(KEY, BINDING));
      expect(vault.http.callsTo('/login')).toHaveLength(2);
    } finally {
      await kms.close?.();
      await vault.http.stop();
    }
  });
});
