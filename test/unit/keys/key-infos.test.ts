import { keyInfo, keyInfos } from '../../../src/keys/policy/key-policy';
import { someRecord, startProcess } from '../../support/key-fixtures';

const MEMBERS = [
  'id',
  'name',
  'purpose',
  'version',
  'state',
  'suite',
  'kms',
  'kek',
  'createdAt',
  'activatedAt',
  'deactivatedAt',
  'compromisedAt',
  'destroyedAt',
  'expiresAt',
  'nextRotationAt',
  'owner',
  'securityLevel',
  'useCount',
];

describe('keyInfo', () => {
  it('tells what an operator asks for, and neither the wrapped key nor its MAC', () => {
    const record = someRecord();
    const info = keyInfo(record);
    expect(Object.keys(info)).toEqual(MEMBERS);
    expect({ ...record, nextRotationAt: null }).toMatchObject(info);
  });
});

describe('keyInfos', () => {
  it('lists the data keys by name and version', () => {
    const records = [
      someRecord({ name: 'medical', version: 1 }),
      someRecord({ name: 'default', version: 10 }),
      someRecord({ purpose: 'index', suite: 'hmac-sha-256' }),
      someRecord({ name: 'default', version: 9, state: 'destroyed' }),
    ];
    expect(keyInfos(records).map(({ name, version }) => [name, version])).toEqual([
      ['default', 9],
      ['default', 10],
      ['medical', 1],
    ]);
  });
});

describe('KeyManager.list', () => {
  it('lists every version with its state and dates, from the table', async () => {
    const { keys } = startProcess();
    expect(await keys.list()).toEqual([]);
    await keys.prepare(['default'], { index: true });
    const rotated = await keys.rotate('default');

    const infos = await keys.list();

    expect(infos).toHaveLength(2);
    expect(infos[0]).toMatchObject({
      version: 1,
      state: 'deactivated',
      kms: 'fake',
      kek: 'fake-kek/1',
      deactivatedAt: rotated.activatedAt,
    });
    expect(infos[1]).toEqual(rotated);
  });
});
