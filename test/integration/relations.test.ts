import {
  Column,
  Entity,
  JoinColumn,
  JoinTable,
  ManyToMany,
  ManyToOne,
  OneToMany,
  OneToOne,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  RelationId,
} from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted, UnsupportedQueryError } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { storedPlaintexts } from '../support/stored-rows';

@Entity()
class Clinic {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex() name!: string;
  @OneToMany(() => Doctor, (doctor) => doctor.clinic, { cascade: true }) doctors!: Doctor[];
}

@Entity()
class Doctor {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true, normalize: 'email' }) email!: string;
  @ManyToOne(() => Clinic, (clinic) => clinic.doctors, { nullable: true }) clinic!: Clinic | null;
  @OneToOne(() => License, { cascade: true, eager: true, nullable: true })
  @JoinColumn()
  license!: License | null;
  @OneToMany(() => Note, (note) => note.doctor, { cascade: true }) notes!: Promise<Note[]>;
  @ManyToMany(() => Skill, (skill) => skill.doctors, { cascade: true })
  @JoinTable()
  skills!: Skill[];
  @RelationId((doctor: Doctor) => doctor.skills) skillIds!: number[];
}

@Entity()
class License {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() number!: string;
}

@Entity()
class Note {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
  @ManyToOne(() => Doctor, (doctor) => doctor.notes, { lazy: true, onDelete: 'CASCADE' })
  doctor!: Promise<Doctor>;
}

@Entity()
class Skill {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ type: 'json' }) labels!: string[];
  @Encrypted() @BlindIndex() title!: string;
  @ManyToMany(() => Doctor, (doctor) => doctor.skills) doctors!: Doctor[];
}

@Entity()
class Bed {
  @PrimaryColumn() ward!: string;
  @PrimaryColumn() number!: number;
  @Encrypted({ nullable: true }) @BlindIndex() patient!: string | null;
  @OneToMany(() => Reading, (reading) => reading.bed, { cascade: true }) readings!: Reading[];
}

@Entity()
class Reading {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() value!: number;
  @ManyToOne(() => Bed, (bed) => bed.readings) bed!: Bed;
  @Column({ default: '' }) unit!: string;
}

const ENTITIES = [Clinic, Doctor, License, Note, Skill, Bed, Reading];

describeEachDatabase('A relation between encrypted entities', (database) => {
  const opened = useEncryptedDatabase(database, { entities: ENTITIES });
  const clinics = (): Repository<Clinic> => opened.dataSource.getRepository(Clinic);
  const doctors = (): Repository<Doctor> => opened.dataSource.getRepository(Doctor);
  const plaintexts = (entity: (typeof ENTITIES)[number]) =>
    storedPlaintexts(opened.dataSource, entity);

  /** A clinic with two doctors, of whom the first has a license, two notes and two skills. */
  async function staffed(): Promise<Clinic> {
    const { dataSource } = opened;
    const notes = dataSource
      .getRepository(Note)
      .create([{ text: 'canary 1' }, { text: 'canary 2' }]);
    const ada = doctors().create({
      email: 'canary.ada@x.org',
      license: { number: 'canary L1' },
      skills: [
        { title: 'canary S1', labels: ['canary'] },
        { title: 'canary S2', labels: [] },
      ],
    });
    ada.notes = Promise.resolve(notes);
    const bob = doctors().create({ email: 'canary.bob@x.org' });
    const clinic = clinics().create({ name: 'canary North' });
    clinic.doctors = [ada, bob];
    return clinics().save(clinic);
  }

  it('cascades inserts, all encrypted, and leaves plaintext in the whole graph', async () => {
    const clinic = await staffed();
    expect(clinic).toMatchObject({
      name: 'canary North',
      doctors: [
        {
          email: 'canary.ada@x.org',
          license: { number: 'canary L1' },
          skills: [{ title: 'canary S1', labels: ['canary'] }, { title: 'canary S2' }],
        },
        { email: 'canary.bob@x.org' },
      ],
    });
    expect(await plaintexts(Clinic)).toEqual([{ name: 'canary North' }]);
    expect(await plaintexts(Doctor)).toEqual([
      { email: 'canary.ada@x.org' },
      { email: 'canary.bob@x.org' },
    ]);
    expect(await plaintexts(License)).toEqual([{ number: 'canary L1' }]);
    expect(await plaintexts(Note)).toEqual([{ text: 'canary 1' }, { text: 'canary 2' }]);
    expect(await plaintexts(Skill)).toEqual([
      { title: 'canary S1', labels: ['canary'] },
      { title: 'canary S2', labels: [] },
    ]);
  });

  it('cascades updates of what changed only', async () => {
    const { id } = await staffed();
    const clinic = await clinics().findOneOrFail({
      where: { id },
      relations: { doctors: { skills: true } },
      order: { doctors: { id: 'ASC' } },
    });
    opened.statements.clear();
    await clinics().save(clinic);
    // TypeORM writes the foreign key of an eager relation that is null.
    const untouched = opened.statements
      .writes()
      .filter((sql) => !sql.includes('SET "licenseId" ='));
    expect(untouched).toEqual([]);
    clinic.doctors[0]!.license!.number = 'canary L2';
    clinic.doctors[1]!.email = 'canary.bea@x.org';
    opened.statements.clear();
    await clinics().save(clinic);
    const encrypted = /"(?:number|email)" =/;
    expect(opened.statements.writes().filter((sql) => encrypted.test(sql))).toHaveLength(2);
    expect(await plaintexts(License)).toEqual([{ number: 'canary L2' }]);
    expect(await plaintexts(Doctor)).toEqual([
      { email: 'canary.ada@x.org' },
      { email: 'canary.bea@x.org' },
    ]);
  });

  it('keeps plaintext in the graph when a cascaded insert fails, and can be retried', async () => {
    await staffed();
    const clinic = clinics().create({
      name: 'canary South',
      doctors: [{ email: 'canary.new@x.org' }, { email: 'canary.ada@x.org' }],
    });
    await expect(clinics().save(clinic)).rejects.toThrow();
    expect(clinic).toMatchObject({
      name: 'canary South',
      doctors: [{ email: 'canary.new@x.org' }, { email: 'canary.ada@x.org' }],
    });
    expect(await plaintexts(Clinic)).toHaveLength(1);
    clinic.doctors[1]!.email = 'canary.cleo@x.org';
    await clinics().save(clinic);
    expect(await plaintexts(Clinic)).toHaveLength(2);
    expect(await plaintexts(Doctor)).toHaveLength(4);
  });

  it('loads with find, eagerly, lazily and by id', async () => {
    await staffed();
    const ada = await doctors().findOneOrFail({
      where: { email: 'CANARY.ada@x.org' },
      relations: { clinic: true, skills: true },
    });
    expect(ada).toMatchObject({
      email: 'canary.ada@x.org',
      clinic: { name: 'canary North' },
      license: { number: 'canary L1' },
    });
    expect(ada.skills.map(({ title }) => title).sort()).toEqual(['canary S1', 'canary S2']);
    expect(ada.skillIds).toHaveLength(2);
    expect((await ada.notes).map(({ text }) => text).sort()).toEqual(['canary 1', 'canary 2']);
    const [note] = await ada.notes;
    expect(
      (await (await opened.dataSource.getRepository(Note).findOneByOrFail({ id: note!.id })).doctor)
        .email,
    ).toBe('canary.ada@x.org');
    const withIds = await doctors().findOneOrFail({
      where: { id: ada.id },
      loadRelationIds: { relations: ['clinic', 'skills'] },
    });
    expect(withIds).toMatchObject({ email: 'canary.ada@x.org', clinic: ada.clinic!.id });
  });

  it('is selected in part, also on the other side', async () => {
    const { id } = await staffed();
    const [clinic] = await clinics().find({
      where: { id },
      relations: { doctors: true },
      select: { id: true, doctors: { id: true, email: true } },
      loadEagerRelations: false,
      order: { doctors: { id: 'ASC' } },
    });
    expect(clinic!.name).toBeUndefined();
    expect(clinic!.doctors.map(({ email }) => email)).toEqual([
      'canary.ada@x.org',
      'canary.bob@x.org',
    ]);
  });

  it('loads with relationLoadStrategy "query"', async () => {
    const { id } = await staffed();
    const clinic = await clinics().findOneOrFail({
      where: { id },
      relations: { doctors: { skills: true } },
      relationLoadStrategy: 'query',
    });
    expect(clinic.doctors.map(({ email }) => email).sort()).toEqual([
      'canary.ada@x.org',
      'canary.bob@x.org',
    ]);
    expect(clinic.doctors.flatMap(({ skills }) => skills.map(({ title }) => title)).sort()).toEqual(
      ['canary S1', 'canary S2'],
    );
  });

  it('is joined and looked up through an encrypted property of the other side', async () => {
    await staffed();
    expect(
      await clinics().findOne({
        where: { doctors: { email: 'canary.ADA@x.org' } },
        relations: { doctors: true },
      }),
    ).toMatchObject({ name: 'canary North', doctors: [{ email: 'canary.ada@x.org' }] });
    expect(
      await doctors().find({
        where: { clinic: { name: 'canary North' }, skills: { title: 'canary S2' } },
      }),
    ).toMatchObject([{ email: 'canary.ada@x.org' }]);
    const joined = await clinics()
      .createQueryBuilder('c')
      .innerJoinAndSelect('c.doctors', 'd')
      .leftJoinAndSelect('d.license', 'l')
      .where({ name: 'canary North' })
      .orderBy('d.id')
      .getMany();
    expect(joined).toMatchObject([
      {
        name: 'canary North',
        doctors: [
          { license: { number: 'canary L1' } },
          { email: 'canary.bob@x.org', license: null },
        ],
      },
    ]);
    await expect(
      clinics()
        .createQueryBuilder('c')
        .innerJoin('c.doctors', 'd', 'd.email = :email', { email: 'x' })
        .getMany(),
    ).rejects.toBeInstanceOf(UnsupportedQueryError);
  });

  it('is mapped by leftJoinAndMapOne, leftJoinAndMapMany and innerJoinAndMapOne', async () => {
    await staffed();
    const mapped = await clinics()
      .createQueryBuilder('c')
      .leftJoinAndMapMany('c.staff', Doctor, 'd', 'd.clinicId = c.id')
      .leftJoinAndMapOne('c.head', 'c.doctors', 'h', 'h.id = (SELECT MIN(x.id) FROM doctor x)')
      .innerJoinAndMapOne('c.license', License, 'l', '1 = 1')
      .orderBy('d.id')
      .getMany();
    expect(mapped).toMatchObject([
      {
        name: 'canary North',
        staff: [{ email: 'canary.ada@x.org' }, { email: 'canary.bob@x.org' }],
        head: { email: 'canary.ada@x.org' },
        license: { number: 'canary L1' },
      },
    ]);
  });

  it('is paged through joins', async () => {
    await staffed();
    await doctors().save([{ email: 'canary.cy@x.org' }, { email: 'canary.di@x.org' }]);
    const [page, count] = await doctors().findAndCount({
      relations: { skills: true, clinic: true },
      order: { id: 'DESC' },
      skip: 1,
      take: 2,
    });
    expect(count).toBe(4);
    expect(page.map(({ email }) => email)).toEqual(['canary.cy@x.org', 'canary.bob@x.org']);
  });

  it('is edited and loaded with a relation query builder', async () => {
    const clinic = await staffed();
    const [ada, bob] = clinic.doctors;
    const skill = await opened.dataSource
      .getRepository(Skill)
      .save({ title: 'canary S3', labels: ['canary'] });
    const relation = (name: string, entity: typeof Clinic | typeof Doctor = Doctor) =>
      opened.dataSource.createQueryBuilder().relation(entity as never, name);
    await relation('skills').of(bob).add(skill);
    expect(await relation('skills').of(bob!.id).loadMany()).toMatchObject([
      { title: 'canary S3', labels: ['canary'] },
    ]);
    await relation('skills').of(bob).remove(skill);
    expect(await relation('skills').of(bob).loadMany()).toEqual([]);
    await relation('clinic').of(ada).set(null);
    expect(await relation('clinic').of(ada).loadOne()).toBeFalsy();
    await relation('clinic').of(ada).set(clinic.id);
    expect(await relation('clinic').of(ada!.id).loadOne()).toMatchObject({ name: 'canary North' });
    expect(await relation('doctors', Clinic).of(clinic.id).loadMany()).toHaveLength(2);
    expect(await plaintexts(Doctor)).toEqual([
      { email: 'canary.ada@x.org' },
      { email: 'canary.bob@x.org' },
    ]);
  });

  it('loads with the relation query builder of a repository and of a manager in a transaction', async () => {
    const clinic = await staffed();
    const repository = await clinics()
      .createQueryBuilder()
      .relation('doctors')
      .of(clinic)
      .loadMany<Doctor>();
    expect(repository.map(({ email }) => email).sort()).toEqual([
      'canary.ada@x.org',
      'canary.bob@x.org',
    ]);
    await opened.dataSource.transaction(async (manager) => {
      const loaded = await manager
        .createQueryBuilder()
        .relation(Clinic, 'doctors')
        .of(clinic)
        .loadMany<Doctor>();
      expect(loaded.map(({ email }) => email).sort()).toEqual([
        'canary.ada@x.org',
        'canary.bob@x.org',
      ]);
    });
  });

  it('removes cascaded entities and keeps their plaintext', async () => {
    const clinic = await staffed();
    await opened.dataSource.getRepository(Doctor).remove(clinic.doctors);
    expect(clinic.doctors).toMatchObject([
      { email: 'canary.ada@x.org' },
      { email: 'canary.bob@x.org' },
    ]);
    expect(await plaintexts(Doctor)).toEqual([]);
    expect(await plaintexts(Note)).toEqual([]);
  });

  it('works from an entity with a composite key', async () => {
    const beds = opened.dataSource.getRepository(Bed);
    await beds.save([
      { ward: 'A', number: 1, patient: 'canary Ada', readings: [{ value: 1.5 }, { value: -0 }] },
      { ward: 'A', number: 2, patient: 'canary Bob' },
      { ward: 'B', number: 1, patient: null },
    ]);
    expect(await plaintexts(Bed)).toEqual([
      { patient: 'canary Ada' },
      { patient: 'canary Bob' },
      { patient: null },
    ]);
    expect(await plaintexts(Reading)).toEqual([{ value: 1.5 }, { value: -0 }]);
    const bed = await beds.findOneOrFail({
      where: { patient: 'canary Ada' },
      relations: { readings: true },
    });
    expect(bed.readings.map(({ value }) => value).sort()).toEqual([-0, 1.5]);
    bed.readings[0]!.unit = 'kg';
    opened.statements.clear();
    await beds.save(bed);
    expect(opened.statements.writes()).toHaveLength(1);
    await beds.update({ ward: 'A', number: 2 }, { patient: 'canary Eve' });
    await beds.update({ patient: 'canary Eve' }, { patient: 'canary Fay' });
    await beds.upsert({ ward: 'B', number: 1, patient: 'canary Gil' }, ['ward', 'number']);
    expect(await plaintexts(Bed)).toEqual([
      { patient: 'canary Ada' },
      { patient: 'canary Fay' },
      { patient: 'canary Gil' },
    ]);
    await beds.delete({ patient: 'canary Gil' });
    await beds.delete({ ward: 'A', number: 2 });
    expect(await plaintexts(Bed)).toEqual([{ patient: 'canary Ada' }]);
  });
});
