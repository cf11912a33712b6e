-- The EMR's chart as PostgreSQL has it.
CREATE TABLE emr_diagnosis (
  diag_no varchar(12) PRIMARY KEY, pt_no char(8) NOT NULL, visit_no varchar(12), kcd_code varchar(8), kcd_name varchar(100),
  diag_date date, main_yn char(1), updated_at timestamp(6) NOT NULL DEFAULT clock_timestamp());
CREATE TABLE emr_surgery (
  op_no varchar(12) PRIMARY KEY, pt_no char(8) NOT NULL, visit_no varchar(12), op_code varchar(8), op_name varchar(100),
  op_at timestamp, updated_at timestamp(6) NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON emr_diagnosis (updated_at);
CREATE INDEX ON emr_surgery (updated_at);

-- Interface tables.
CREATE TABLE emr_if_contact (pt_no char(8) PRIMARY KEY, pt_name varchar(60), mobile varchar(20));
CREATE TABLE emr_if_booking (
  msg_key varchar(64) PRIMARY KEY, booking_no varchar(12), pt_no char(8), starts_at timestamp, status varchar(20));
