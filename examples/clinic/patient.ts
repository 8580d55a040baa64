import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted } from 'typeorm-field-encryption';

export interface Visit {
  day: string;
  note: string;
}

@Entity()
export class Patient {
  @PrimaryGeneratedColumn()
  id!: number;

  @Encrypted({ type: 'string' })
  @BlindIndex({ normalize: 'case-insensitive' })
  name!: string;

  @Encrypted({ type: 'string' })
  @BlindIndex({ normalize: 'email', unique: true })
  email!: string;

  @Encrypted({ type: 'string', nullable: true })
  @BlindIndex({ normalize: 'digits' })
  ssn!: string | null;

  @Encrypted({ type: 'date' })
  bornOn!: Date;

  @Encrypted({ type: 'string' })
  phone!: string;

  @Encrypted({ type: 'json' })
  visits!: Visit[];

  /** Not encrypted: needed for statistics in SQL. */
  @Column({ type: 'varchar' })
  bloodGroup!: string;
}
