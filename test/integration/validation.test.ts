import { IsEmail, Length, Matches, ValidateIf } from 'class-validator';
import { inspect } from 'node:util';
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, PlaintextValidationError } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { rawRows } from '../support/stored-rows';

@Entity()
class Member {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ default: 'person' }) kind!: string;
  @Encrypted() @BlindIndex({ unique: true }) @IsEmail() email!: string;
  @Encrypted({ nullable: true })
  @ValidateIf((member: Member) => member.kind !== 'company' && member.ssn !== null)
  @Matches(/^\d{3}-\d{2}-\d{4}$/)
  ssn!: string | null;
  @Column() @Length(2, 40) name!: string;
}

const valid: Omit<Member, 'id'> = {
  kind: 'person',
  email: 'ada@example.org',
  ssn: null,
  name: 'Ada',
};

describeEachDatabase('validate: true', (database) => {
  const used = useEncryptedDatabase(database, { entities: [Member] }, { validate: true });

  const members = () => used.dataSource.getRepository(Member);

  it('writes what keeps the rules', async () => {
    const saved = await members().save({ ...valid });
    await members().update({ id: saved.id }, { ssn: '078-05-1120' });
    expect(await members().findOneBy({ email: 'ada@example.org' })).toMatchObject({
      ssn: '078-05-1120',
    });
  });

  it.each([
    ['save', () => members().save({ ...valid, email: 'canary, not an address' })],
    ['insert', () => members().insert({ ...valid, email: 'canary, not an address' })],
    ['upsert', () => members().upsert({ ...valid, email: 'canary, not an address' }, ['email'])],
    [
      'the query builder',
      () =>
        members()
          .createQueryBuilder()
          .insert()
          .values({ ...valid, email: 'canary, not an address' })
          .execute(),
    ],
  ])('refuses a violation by %s and writes nothing', async (_, write) => {
    const error = await rejection(write);
    expect(error).toBeInstanceOf(PlaintextValidationError);
    expect(error).toMatchObject({
      code: 'ERR_VALIDATION',
      retryable: false,
      entity: 'Member',
      property: 'email',
      violations: [{ property: 'email', constraints: ['isEmail'] }],
    });
    expect(inspect(error) + JSON.stringify(error)).not.toContain('canary');
    expect(await rawRows(used.dataSource, Member)).toHaveLength(0);
  });

  it('checks an update by criteria for the properties it sets', async () => {
    const { id } = await members().save({ ...valid });
    const error = await rejection(members().update({ id }, { ssn: 'canary' }));
    expect(error).toMatchObject({ code: 'ERR_VALIDATION', property: 'ssn' });
    expect((await members().findOneByOrFail({ id })).ssn).toBeNull();
  });

  it('sees the whole entity where a rule depends on another property', async () => {
    const company = await members().save({ ...valid, kind: 'company', ssn: 'none' });
    const person = await members().save({ ...valid, email: 'bob@example.org' });
    company.name = 'Ada Inc.';
    await members().save(company);
    person.ssn = 'none';
    await expect(members().save(person)).rejects.toMatchObject({ code: 'ERR_VALIDATION' });
  });

  it('can be retried with the entity put right', async () => {
    const member = members().create({ ...valid, email: 'not an address' });
    await expect(members().save(member)).rejects.toBeInstanceOf(PlaintextValidationError);
    member.email = 'ada@example.org';
    await members().save(member);
    expect(await members().countBy({ email: 'ada@example.org' })).toBe(1);
  });
});

describeEachDatabase('validate left out', (database) => {
  const used = useEncryptedDatabase(database, { entities: [Member] });

  it('leaves the rules to the application', async () => {
    await used.dataSource.getRepository(Member).save({ ...valid, email: 'not an address' });
    expect(await rawRows(used.dataSource, Member)).toHaveLength(1);
  });
});
