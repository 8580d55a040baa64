import {
  Column,
  DataSource,
  Entity,
  In,
  Not,
  IsNull,
  PrimaryGeneratedColumn,
  VersionColumn,
} from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, localKms, withFieldEncryption } from '../../src';
import { describeEachDatabase } from '../support/databases';

@Entity()
class Patient {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Column() name!: string;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) ssn!: string | null;
  @Encrypted({ type: 'json' }) history!: unknown[];
  @Encrypted() bornOn!: Date;
  @VersionColumn() version!: number;
}

describeEachDatabase('smoke', (database) => {
  it('works', async () => {
    const db = await database.create({
      entities: [Patient],
      synchronize: true,
      logging: process.env.SQL === '1',
    });
    const ds = withFieldEncryption(new DataSource(db.dataSourceOptions), {
      kms: localKms({ passphrase: 'correct horse battery' }),
    });
    await ds.initialize();
    const repo = ds.getRepository(Patient);
    const ada = await repo.save({
      name: 'Ada',
      email: 'Ada@Example.org',
      ssn: '078-05-1120',
      history: [{ a: 1 }],
      bornOn: new Date(0),
    });
    expect(ada.email).toBe('Ada@Example.org');
    for (let i = 0; i < 40; i++)
      await repo.insert({
        name: 'p' + i,
        email: `p${i}@x.org`,
        ssn: i % 10 === 0 ? null : `s${i}`,
        history: [],
        bornOn: new Date(i),
      });
    const found = await repo.findOneByOrFail({ email: 'ada@example.ORG' });
    expect(found).toMatchObject({
      email: 'Ada@Example.org',
      ssn: '078-05-1120',
      history: [{ a: 1 }],
      bornOn: new Date(0),
    });
    expect('email_bidx' in found).toBe(false);
    expect(await repo.countBy({ ssn: 's7' })).toBe(1);
    expect(await repo.countBy({ ssn: Not('s7') })).toBe(36);
    expect(await repo.countBy({ ssn: IsNull() })).toBe(4);
    expect(await repo.countBy({ ssn: In(['s7', 's8', 'zzz']) })).toBe(2);
    expect(await repo.countBy({ ssn: Not('nobody') })).toBe(37);
    await repo.save(found);
    expect(found.version).toBe(1);
    found.email = 'new@example.org';
    await repo.save(found);
    expect(found.version).toBe(2);
    expect((await repo.findOneByOrFail({ email: 'NEW@example.org' })).id).toBe(found.id);
    await repo.update({ email: 'new@example.org' }, { ssn: 's1' });
    expect(await repo.countBy({ ssn: 's1' })).toBe(2);
    const fe = fieldEncryption(ds);
    await fe.keys.rotate();
    const report = await fe.reencrypt({ batchSize: 7 });
    expect(report).toMatchObject({ scanned: 41, changed: 41, failed: 0, conflicts: 0 });
    const raw = await ds.query('select * from patient limit 1');
    console.log(raw, JSON.stringify(await fe.status(), null, 1), await fe.keys.list());
    expect((await repo.findOneByOrFail({ email: 'NEW@example.org' })).ssn).toBe('s1');
    await expect(repo.findOneByOrFail({ email: 'canary@example.org' })).rejects.not.toThrow(
      /canary/,
    );
    await expect(
      repo.createQueryBuilder('p').where('p.email = :e', { e: 'x' }).getMany(),
    ).rejects.toThrow(/Patient.email/);
    await ds.destroy();
    await db.dispose();
  });
});
