import { Column, PrimaryGeneratedColumn } from 'typeorm';

/** Ten columns. The variants differ in how they store the last four, which are secret. */
export abstract class Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Column() city!: string;
  @Column() street!: string;
  @Column() zip!: string;
  @Column('int') visits!: number;
  abstract email: string;
  abstract phone: string;
  abstract ssn: string;
  abstract note: string;
}

export function persons(count: number): Omit<Person, 'id'>[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `Person ${String(i)}`,
    city: 'Utrecht',
    street: 'Oudegracht 1',
    zip: '3511 AB',
    visits: i,
    email: emailOf(i),
    phone: `+31 30 555 ${String(i).padStart(4, '0')}`,
    ssn: `078-05-${String(i).padStart(4, '0')}`,
    note: 'seen twice, prescribed rest and a warmer climate',
  }));
}

export function emailOf(i: number): string {
  return `person${String(i)}@example.org`;
}
