import {
  ChildEntity,
  Column,
  Entity,
  PrimaryGeneratedColumn,
  TableInheritance,
  Tree,
  TreeChildren,
  TreeParent,
} from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rawRows, storedPlaintexts } from '../support/stored-rows';

class Geo {
  @Encrypted({ nullable: true, type: 'number' }) latitude!: number | null;
  @Column({ type: 'varchar', nullable: true }) datum!: string | null;
}

class Address {
  @Encrypted({ nullable: true }) @BlindIndex() street!: string | null;
  @Column({ type: 'varchar', nullable: true }) city!: string | null;
  @Column(() => Geo) geo!: Geo;
}

@Entity()
class Customer {
  @PrimaryGeneratedColumn() id!: number;
  @Column(() => Address) home!: Address;
  @Column(() => Address, { prefix: 'office_' }) work!: Address;
  @Column(() => Geo, { prefix: false }) place!: Geo;
}

describeEachDatabase('An embedded encrypted property', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Customer] });
  const customers = (): Repository<Customer> => opened.dataSource.getRepository(Customer);
  const ADA = {
    home: { street: 'canary 1 Main St', city: 'X', geo: { latitude: 1.5, datum: 'W' } },
    work: { street: 'canary 2 High St', city: 'Y', geo: { latitude: null, datum: null } },
    place: { latitude: -7, datum: null },
  };
  const STORED = {
    'home.street': 'canary 1 Main St',
    'home.geo.latitude': 1.5,
    'work.street': 'canary 2 High St',
    'work.geo.latitude': null,
    'place.latitude': -7,
  };

  it('is stored in a column of its own, nested and with prefixes', async () => {
    const customer = await customers().save(customers().create(ADA));
    expect(customer).toMatchObject(ADA);
    expect(await storedPlaintexts(opened.dataSource, Customer)).toEqual([STORED]);
    const [row] = await rawRows(opened.dataSource, Customer);
    expect(Object.keys(row!)).toEqual(expect.arrayContaining(['homeStreet', 'latitude']));
    expect(await customers().findOneByOrFail({ id: customer.id })).toEqual(customer);
    expect(JSON.stringify(customer)).not.toContain('bidx');
  });

  it('is looked up within its own embedded', async () => {
    const { id } = await customers().save(customers().create(ADA));
    expect(await customers().findOneBy({ home: { street: 'canary 1 Main St' } })).toMatchObject({
      id,
    });
    expect(await customers().findOneBy({ work: { street: 'canary 2 High St' } })).toMatchObject({
      id,
    });
    expect(await customers().findOneBy({ work: { street: 'canary 1 Main St' } })).toBeNull();
  });

  it('is written alone when it changes', async () => {
    const { id } = await customers().save(customers().create(ADA));
    const customer = await customers().findOneByOrFail({ id });
    opened.statements.clear();
    await customers().save(customer);
    expect(opened.statements.writes()).toEqual([]);
    customer.work.geo.latitude = 4;
    customer.home.street = 'canary 3 Low St';
    await customers().save(customer);
    expect(opened.statements.of('UPDATE')).toHaveLength(1);
    expect(opened.statements.of('UPDATE')[0]).not.toContain('"latitude"');
    expect(await storedPlaintexts(opened.dataSource, Customer)).toEqual([
      { ...STORED, 'home.street': 'canary 3 Low St', 'work.geo.latitude': 4 },
    ]);
  });

  it('is written by update, insert and preload', async () => {
    const { identifiers } = await customers().insert(structuredClone(ADA));
    const id = identifiers[0]!['id'] as number;
    await customers().update(id, { work: { street: 'canary 4 Side St' } });
    await customers().update(
      { home: { street: 'canary 1 Main St' } },
      { home: { geo: { latitude: 9 } } },
    );
    const preloaded = await customers().preload({ id, place: { latitude: 12 } });
    await customers().save(preloaded!);
    expect(await storedPlaintexts(opened.dataSource, Customer)).toEqual([
      {
        ...STORED,
        'work.street': 'canary 4 Side St',
        'home.geo.latitude': 9,
        'place.latitude': 12,
      },
    ]);
  });

  it('is set to NULL through its embedded', async () => {
    const { id } = await customers().save(customers().create(ADA));
    const customer = await customers().findOneByOrFail({ id });
    customer.home = { street: null, city: null, geo: { latitude: null, datum: null } };
    await customers().save(customer);
    const [stored] = await storedPlaintexts(opened.dataSource, Customer);
    expect(stored).toMatchObject({ 'home.street': null, 'home.geo.latitude': null });
  });

  it('stays as it is when its embedded is set to null, as every column does in TypeORM', async () => {
    const { id } = await customers().save(customers().create(ADA));
    await customers().save(
      Object.assign(await customers().findOneByOrFail({ id }), { home: null }),
    );
    expect(await storedPlaintexts(opened.dataSource, Customer)).toEqual([STORED]);
  });
});

@Entity()
@TableInheritance({ column: { type: 'varchar', name: 'kind' } })
class Person {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ normalize: 'email' }) email!: string;
}

@ChildEntity()
class Nurse extends Person {
  @Encrypted({ nullable: true }) @BlindIndex() badge!: string | null;
  @Column({ type: 'varchar', nullable: true }) shift!: string | null;
}

@ChildEntity()
class Surgeon extends Person {
  @Encrypted({ type: 'json', nullable: true }) operations!: unknown;
}

@ChildEntity()
class Orderly extends Person {
  @Encrypted({ nullable: true }) @BlindIndex() badge!: string | null;
}

@ChildEntity()
class HeadNurse extends Nurse {
  @Encrypted({ nullable: true }) pin!: string | null;
}

describeEachDatabase('Single-table inheritance', (database) => {
  const opened = useEncryptedDatabase(database, {
    entities: [Person, Nurse, Surgeon, Orderly, HeadNurse],
  });
  const NURSE = { email: 'canary.n@x.org', badge: 'canary N1', shift: 'late' };
  const SURGEON = { email: 'canary.s@x.org', operations: ['canary'] };
  const HEAD = { email: 'canary.h@x.org', badge: 'canary N2', pin: 'canary 0000' };

  async function staff() {
    const { manager } = opened.dataSource;
    const nurse = await manager.save(manager.create(Nurse, NURSE));
    const surgeon = await manager.save(manager.create(Surgeon, SURGEON));
    const head = await manager.save(manager.create(HeadNurse, HEAD));
    return { nurse, surgeon, head };
  }

  it('encrypts columns of the parent and of children', async () => {
    expect(await staff()).toMatchObject({ nurse: NURSE, surgeon: SURGEON, head: HEAD });
    expect(await storedPlaintexts(opened.dataSource, Person)).toEqual([
      { email: NURSE.email, badge: NURSE.badge, operations: null, pin: null },
      { email: SURGEON.email, badge: null, operations: ['canary'], pin: null },
      { email: HEAD.email, badge: HEAD.badge, operations: null, pin: HEAD.pin },
    ]);
  });

  it('reads through the parent and through each child', async () => {
    await staff();
    const { manager } = opened.dataSource;
    const everybody = await manager.find(Person, { order: { id: 'ASC' } });
    expect(everybody).toMatchObject([NURSE, SURGEON, HEAD]);
    expect(everybody.map((each) => each.constructor)).toEqual([Nurse, Surgeon, HeadNurse]);
    expect(await manager.find(Nurse, { order: { id: 'ASC' } })).toMatchObject([NURSE, HEAD]);
    expect(await manager.find(Surgeon)).toMatchObject([SURGEON]);
    expect(await manager.find(HeadNurse)).toMatchObject([HEAD]);
  });

  it('looks up inherited and own properties', async () => {
    await staff();
    const { manager } = opened.dataSource;
    expect(await manager.findOneBy(Person, { email: 'CANARY.s@x.org' })).toMatchObject(SURGEON);
    expect(await manager.findOneBy(Nurse, { email: 'CANARY.h@x.org' })).toMatchObject(HEAD);
    expect(await manager.findOneBy(HeadNurse, { badge: HEAD.badge })).toMatchObject(HEAD);
    expect(await manager.findOneBy(Surgeon, { email: NURSE.email })).toBeNull();
  });

  it('saves untouched entities without a statement and changes what changed', async () => {
    await staff();
    const { manager } = opened.dataSource;
    const everybody = await manager.find(Person, { order: { id: 'ASC' } });
    opened.statements.clear();
    await manager.save(everybody);
    expect(opened.statements.writes()).toEqual([]);
    Object.assign(everybody[2]!, { badge: 'canary N3', pin: null });
    await manager.save(everybody);
    expect(opened.statements.writes()).toHaveLength(1);
    expect((await storedPlaintexts(opened.dataSource, Person))[2]).toMatchObject({
      badge: 'canary N3',
      pin: null,
    });
  });

  it('shares a column between children that declare the same property', async () => {
    const { manager } = opened.dataSource;
    await manager.save(Orderly, { email: 'canary.o@x.org', badge: NURSE.badge });
    await manager.save(manager.create(Nurse, NURSE));
    expect(await manager.find(Person, { order: { id: 'ASC' } })).toMatchObject([
      { badge: NURSE.badge },
      { badge: NURSE.badge },
    ]);
    expect(await manager.countBy(Orderly, { badge: NURSE.badge })).toBe(1);
    expect(await manager.countBy(Nurse, { badge: NURSE.badge })).toBe(1);
    expect(await storedPlaintexts(opened.dataSource, Orderly)).toMatchObject([
      { badge: NURSE.badge },
      { badge: NURSE.badge },
    ]);
  });

  it('writes by insert, update and delete of parent and child', async () => {
    const { manager } = opened.dataSource;
    await manager.insert(Nurse, { ...NURSE });
    await manager.insert(HeadNurse, { ...HEAD });
    await manager.update(Person, { email: NURSE.email }, { email: 'canary.new@x.org' });
    await manager.update(Nurse, { badge: HEAD.badge }, { badge: 'canary N4' });
    expect(await storedPlaintexts(opened.dataSource, Person)).toMatchObject([
      { email: 'canary.new@x.org', badge: NURSE.badge },
      { email: HEAD.email, badge: 'canary N4', pin: HEAD.pin },
    ]);
    await manager.delete(HeadNurse, { badge: 'canary N4' });
    expect(await manager.count(Person)).toBe(1);
  });
});

abstract class Contact {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true, normalize: 'digits' }) phone!: string;
}

@Entity()
class Supplier extends Contact {
  @Encrypted({ storage: 'binary' }) iban!: string;
}

@Entity()
class Relative extends Contact {
  @Column(() => Geo) geo!: Geo;
}

describeEachDatabase('Concrete inheritance from an abstract base', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Supplier, Relative] });

  it('gives each table its own column, index and ciphertexts', async () => {
    const { manager } = opened.dataSource;
    const phone = 'canary +1 (555) 01';
    const supplier = await manager.save(manager.create(Supplier, { phone, iban: 'canary IBAN' }));
    const relative = await manager.save(manager.create(Relative, { phone, geo: { latitude: 3 } }));
    expect([supplier.phone, relative.phone]).toEqual([phone, phone]);
    expect(await storedPlaintexts(opened.dataSource, Supplier)).toEqual([
      { phone, iban: 'canary IBAN' },
    ]);
    expect(await storedPlaintexts(opened.dataSource, Relative)).toEqual([
      { phone, 'geo.latitude': 3 },
    ]);
    const [suppliers] = await rawRows(opened.dataSource, Supplier);
    const [relatives] = await rawRows(opened.dataSource, Relative);
    expect(suppliers!['phone_bidx']).not.toBe(relatives!['phone_bidx']);
    expect(await manager.findOneBy(Supplier, { phone: '155501' })).toMatchObject({
      id: supplier.id,
      phone,
    });
    expect(await manager.findOneBy(Relative, { phone: '1-555-01' })).toMatchObject({ phone });
    await expect(manager.insert(Supplier, { phone: '155501', iban: 'x' })).rejects.toThrow();
  });
});

@Entity()
class Device {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) serial!: string;
}

@Entity()
class Pump extends Device {
  @Encrypted() dose!: number;
}

describeEachDatabase('Concrete inheritance from another entity', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Device, Pump] });

  it('keeps the two tables apart', async () => {
    const { manager } = opened.dataSource;
    await manager.save(Device, { serial: 'canary 1' });
    await manager.save(Pump, { serial: 'canary 1', dose: 2.5 });
    expect(await storedPlaintexts(opened.dataSource, Device)).toEqual([{ serial: 'canary 1' }]);
    expect(await storedPlaintexts(opened.dataSource, Pump)).toEqual([
      { serial: 'canary 1', dose: 2.5 },
    ]);
    expect(await manager.findOneBy(Pump, { serial: 'canary 1' })).toMatchObject({ dose: 2.5 });
    const [device] = await rawRows(opened.dataSource, Device);
    await opened.dataSource.query(`UPDATE pump SET serial = '${String(device!['serial'])}'`);
    await expect(manager.find(Pump)).rejects.toMatchObject({ code: 'ERR_DECRYPTION' });
  });
});

abstract class Unit {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex() name!: string;
}

@Entity()
@Tree('closure-table')
class ClosureUnit extends Unit {
  @TreeChildren({ cascade: true }) children!: ClosureUnit[];
  @TreeParent() parent!: ClosureUnit | null;
}

@Entity()
@Tree('materialized-path')
class PathUnit extends Unit {
  @TreeChildren({ cascade: true }) children!: PathUnit[];
  @TreeParent() parent!: PathUnit | null;
}

@Entity()
@Tree('nested-set')
class NestedUnit extends Unit {
  @TreeChildren({ cascade: true }) children!: NestedUnit[];
  @TreeParent() parent!: NestedUnit | null;
}

interface TreeUnit extends Unit {
  children: TreeUnit[];
  parent: TreeUnit | null;
}

describeEachDatabase('A tree of encrypted entities', (database) => {
  const entities = [ClosureUnit, PathUnit, NestedUnit];
  const opened = useEncryptedDatabase(database, { entities });

  it.each(entities)('%p is saved, read and moved', async (entity) => {
    const units = opened.dataSource.getTreeRepository<TreeUnit>(entity);
    const root = await units.save(units.create({ name: 'canary root' }));
    const left = await units.save(units.create({ name: 'canary left', parent: root }));
    const right = await units.save(units.create({ name: 'canary right', parent: root }));
    const leaf = await units.save(units.create({ name: 'canary leaf', parent: left }));
    expect([root, left, right, leaf].map(({ name }) => name)).toEqual([
      'canary root',
      'canary left',
      'canary right',
      'canary leaf',
    ]);
    expect(await storedPlaintexts(opened.dataSource, entity)).toEqual([
      { name: 'canary root' },
      { name: 'canary left' },
      { name: 'canary right' },
      { name: 'canary leaf' },
    ]);
    const [tree] = await units.findTrees();
    expect(tree).toMatchObject({ name: 'canary root' });
    expect(names(tree!.children)).toEqual(['canary left', 'canary right']);
    expect(names(tree!.children.flatMap(({ children }) => children))).toEqual(['canary leaf']);
    expect(names(await units.findRoots())).toEqual(['canary root']);
    expect(names(await units.findAncestors(leaf))).toEqual([
      'canary leaf',
      'canary left',
      'canary root',
    ]);
    expect(names(await units.findDescendants(left))).toEqual(['canary leaf', 'canary left']);
    expect((await units.findAncestorsTree(leaf)).parent).toMatchObject({ name: 'canary left' });
    expect((await units.findDescendantsTree(left)).children).toMatchObject([
      { name: 'canary leaf' },
    ]);
    expect(await units.countDescendants(root)).toBe(4);

    const found = await units.findOneOrFail({
      where: { name: 'canary leaf' },
      relations: { parent: true },
    });
    found.name = 'canary moved';
    await units.save(found);
    expect((await storedPlaintexts(opened.dataSource, entity))[3]).toEqual({
      name: 'canary moved',
    });
    expect(await units.countBy({ name: 'canary moved' })).toBe(1);
  });
});

function names(units: readonly Unit[]): string[] {
  return units.map(({ name }) => name).sort();
}
