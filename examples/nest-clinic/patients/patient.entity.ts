import { Column, DeleteDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, KeyScope } from 'typeorm-field-encryption';

@Entity()
export class Patient {
  @PrimaryGeneratedColumn('uuid')
  id!: string;

  @KeyScope({ kind: 'tenant' })
  @Index()
  @Column()
  tenantId!: string;

  @Column()
  name!: string;

  @Encrypted()
  @BlindIndex({ normalize: 'email' })
  email!: string;

  @Encrypted({ nullable: true })
  ssn!: string | null;

  @DeleteDateColumn()
  deletedAt!: Date | null;
}
